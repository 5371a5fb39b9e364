/** Sessions of ONNX Runtime in the process that this one has for it. */
import * as path from 'node:path';
import type { InferenceSession } from 'onnxruntime-node';
import { NotAsked, RuntimeEnded, RuntimeProcess } from './process';
import type { Request, TensorHeader } from './protocol';

/** A tensor as it goes to ONNX Runtime and comes back. */
export interface RuntimeTensor extends TensorHeader {
  readonly bytes: Uint8Array;
}

/** A model that is loaded. */
export interface RuntimeSession {
  readonly inputs: readonly InferenceSession.ValueMetadata[];
  readonly outputs: readonly InferenceSession.ValueMetadata[];
  readonly loadMilliseconds: number;
  /** @throws RuntimeEnded, Error with what ONNX Runtime complains about */
  run(
    feeds: readonly RuntimeTensor[],
    outputs: readonly string[],
  ): Promise<{ readonly tensors: readonly RuntimeTensor[]; readonly milliseconds: number }>;
  /** Completes the file of the profile. */
  endProfiling(): Promise<void>;
  release(): Promise<void>;
}

/** One process with what its environment was: native libraries read it once, so another one needs another process. */
interface Host {
  readonly process: RuntimeProcess;
  readonly surroundings: string;
  /** Sessions that are open. */
  open: number;
  idle?: NodeJS.Timeout;
}

/** How long a process is kept for which there is nothing to do, in milliseconds. */
const IDLE = 5000;

let current: Host | undefined;
let sessions = 0;

function surroundings(): string {
  return JSON.stringify([process.cwd(), process.env]);
}

function host(): Host {
  const now = surroundings();
  if (current && !current.process.ended && current.surroundings === now) return current;
  if (current) retire(current);
  current = { process: new RuntimeProcess(), surroundings: now, open: 0 };
  settle(current);
  return current;
}

/** A process that is not used any more ends with its last session. */
function retire(old: Host): void {
  clearTimeout(old.idle);
  if (old.open === 0) void old.process.end();
}

/** Looks whether there is something to do. */
function settle(one: Host): void {
  clearTimeout(one.idle);
  if (one.open > 0) return;
  if (one !== current) retire(one);
  else one.idle = setTimeout(() => void one.process.end(), IDLE).unref();
}

/** Starts the process, where it does not run already, so that it is there when it is needed. */
export function startRuntime(): void {
  host();
}

/** Ends the process, and waits until it is gone. Open sessions load their models again when they are used. */
export async function endRuntime(): Promise<void> {
  const ending = current;
  current = undefined;
  if (ending) clearTimeout(ending.idle);
  await ending?.process.end();
}

/**
 * Loads a model. If the process ends, the session that it was busy with fails; every other one, and that one when it is
 * used again, loads its model anew: what one run has done must not fail the next.
 * @param model path, or the bytes of a model, which must stay as they are
 * @throws RuntimeEnded, Error with what ONNX Runtime complains about
 */
export async function openSession(
  model: string | Uint8Array,
  settings: InferenceSession.SessionOptions,
): Promise<RuntimeSession> {
  const source = typeof model === 'string' ? path.resolve(model) : model;
  let loaded = await load(source, settings, typeof model === 'string' ? model : undefined);
  let released = false;
  /** Asks for something that concerns this session, of a process that is alive. */
  const ask = async (request: (session: number) => Request, payloads: readonly Uint8Array[] = []) => {
    for (;;) {
      if (loaded.host.process.ended) loaded = await load(source, settings);
      try {
        return await loaded.host.process.request(request(loaded.session), payloads);
      } catch (error) {
        if (!(error instanceof NotAsked)) throw error;
      }
    }
  };
  return {
    inputs: loaded.inputs,
    outputs: loaded.outputs,
    loadMilliseconds: loaded.milliseconds,
    async run(feeds, outputs) {
      const headers = feeds.map(({ name, type, dims }) => ({ name, type, dims }));
      const { message, payloads } = await ask(
        (session) => ({ kind: 'run', session, feeds: headers, outputs }),
        feeds.map(({ bytes }) => bytes),
      );
      const tensors = (message.tensors ?? []).map((header, index) => {
        return { ...header, bytes: payloads[index] ?? new Uint8Array(0) };
      });
      return { tensors, milliseconds: message.milliseconds ?? 0 };
    },
    async endProfiling() {
      if (loaded.host.process.ended) return;
      await loaded.host.process.request({ kind: 'end-profiling', session: loaded.session });
    },
    async release() {
      if (released) return;
      released = true;
      await close(loaded);
    },
  };
}

interface Loaded {
  readonly host: Host;
  readonly session: number;
  readonly inputs: readonly InferenceSession.ValueMetadata[];
  readonly outputs: readonly InferenceSession.ValueMetadata[];
  readonly milliseconds: number;
}

/** @param spelt how the user wrote the path, for what ONNX Runtime says */
async function load(
  source: string | Uint8Array,
  settings: InferenceSession.SessionOptions,
  spelt?: string,
): Promise<Loaded> {
  const at = host();
  const session = ++sessions;
  at.open++;
  settle(at);
  try {
    const { message } = await (typeof source === 'string'
      ? at.process.request({ kind: 'create', session, path: spelt ?? source, settings })
      : at.process.request({ kind: 'create', session, settings }, [source]));
    const { inputs = [], outputs = [], milliseconds = 0 } = message;
    return { host: at, session, inputs, outputs, milliseconds };
  } catch (error) {
    at.open--;
    settle(at);
    if (error instanceof NotAsked) return load(source, settings, spelt);
    throw error;
  }
}

async function close({ host: at, session }: Loaded): Promise<void> {
  try {
    if (!at.process.ended) await at.process.request({ kind: 'release', session });
  } catch (error) {
    // It is as free as can be.
    if (!(error instanceof RuntimeEnded || error instanceof NotAsked)) throw error;
  } finally {
    at.open--;
    settle(at);
  }
}
