import { rmSync } from 'node:fs';
import * as path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { errors } from '../errors';
import { temporaryFolder } from '../onnx/folders';
import { tidy } from '../onnx/tidy';
import { makeGate, shutGate } from '../onnx/uninterrupted';
import type { JobName, JobResult, Jobs, Look, Message, PlainError, WorkerData } from './job';
import { plainError } from './plain-error';

/** Three times the semi-space of V8; the limit is not used up by small models. */
const YOUNG_GENERATION_MB = 96;

/** Milliseconds to wait for files that are being moved, when the process is told to end. */
const PATIENCE = 10_000;

export interface JobListener {
  phase(text: string): void;
  warning(text: string): void;
  dump(text: string): void;
  /** A folder where an output is being written. */
  folder(path: string): void;
}

export type Outcome =
  | { readonly kind: 'result'; readonly result: JobResult }
  | { readonly kind: 'failure'; readonly error: PlainError };

/**
 * Runs a job in a thread of its own. When the process is told to end, temporary files are removed, and the process ends
 * at once by the signal that it was sent.
 */
export async function runJob<Name extends JobName>(
  name: Name,
  settings: Jobs[Name],
  look: Look,
  listener: JobListener,
): Promise<Outcome> {
  // Whatever the job puts aside goes with this folder, however the process ends.
  const scratch = temporaryFolder('job');
  const folders = new Set<string>();
  const gate = makeGate();
  const cleanUp = async () => {
    // Whoever moves files at this moment comes to an end; whoever would begin to does not.
    if (!shutGate(gate, PATIENCE)) return;
    // What the job has said until then arrives.
    await setImmediate();
    for (const folder of folders) tidy(folder, true);
    removeFolder(scratch);
  };
  const worker = new Worker(path.join(__dirname, 'jobs', `${name}.js`), {
    workerData: { settings, look, gate } satisfies WorkerData,
    env: { ...process.env, TMPDIR: scratch, TEMP: scratch, TMP: scratch },
    // A model is many small objects that live as long as the job: fewer collections of young ones.
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
  });
  const release = onSignals(cleanUp);
  try {
    return await new Promise<Outcome>((resolve) => {
      let outcome: Outcome | undefined;
      worker.on('message', (message: Message) => {
        if (message.kind === 'result' || message.kind === 'failure') outcome = message;
        else if (message.kind === 'folder') folders.add(message.path);
        if (message.kind === 'phase') listener.phase(message.text);
        else if (message.kind === 'warning') listener.warning(message.text);
        else if (message.kind === 'dump') listener.dump(message.text);
        else if (message.kind === 'folder') listener.folder(message.path);
      });
      worker.on('error', (error) => {
        outcome = { kind: 'failure', error: plainError(error) };
      });
      worker.on('exit', (code) => {
        resolve(
          outcome ?? {
            kind: 'failure',
            error: plainError(errors.internal(`the work ended with code ${code}`)),
          },
        );
      });
    });
  } finally {
    release();
    removeFolder(scratch);
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Ends the process when it is told to. The thread of the job is not waited for, and not stopped: inside ONNX Runtime,
 * that aborts the process.
 * @returns takes the handlers away again
 */
function onSignals(cleanUp: () => Promise<void>): () => void {
  const handle = (signal: NodeJS.Signals) => {
    void cleanUp().finally(() => {
      release();
      process.kill(process.pid, signal);
    });
  };
  const release = () => {
    for (const signal of SIGNALS) process.off(signal, handle);
  };
  for (const signal of SIGNALS) process.on(signal, handle);
  return release;
}

/** The job may be writing into it at this moment. */
function removeFolder(folder: string): void {
  try {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  } catch {
    // It stays where it is: there are other things to do.
  }
}
