import { parentPort, workerData } from 'node:worker_threads';
import { goThrough, tellFolders } from '../onnx/uninterrupted';
import { COLOUR, PLAIN, type Style } from '../report/text';
import { endRuntime } from '../runtime';
import type { JobName, JobResult, Jobs, Message, WorkerData } from './job';
import { plainError } from './plain-error';

/** What a job can say while it runs, and how its text shall look. */
export interface Ui {
  readonly width: number | undefined;
  readonly style: Style;
  /** What is being done now, for the progress line. */
  phase(text: string): void;
  warn(text: string): void;
  /** Writes to standard error. */
  dump(text: string): void;
  /** Names a folder where temporary files may be left if the process is ended. */
  usesFolder(path: string): void;
}

/** Runs a job in the thread that was started for it, and reports what it comes to. */
export function serve<Name extends JobName>(
  run: (settings: Jobs[Name], ui: Ui) => JobResult | Promise<JobResult>,
): void {
  const { settings, look, gate } = workerData as WorkerData<Name>;
  goThrough(gate);
  const post = (message: Message) => parentPort?.postMessage(message);
  const ui: Ui = {
    width: look.width,
    style: look.colour ? COLOUR : PLAIN,
    phase: (text) => post({ kind: 'phase', text }),
    warn: (text) => post({ kind: 'warning', text }),
    dump: (text) => post({ kind: 'dump', text }),
    usesFolder: (path) => post({ kind: 'folder', path }),
  };
  tellFolders(ui.usesFolder);
  Promise.resolve()
    .then(() => run(settings, ui))
    .then(
      (result) => post({ kind: 'result', result }),
      (error: unknown) => post({ kind: 'failure', error: plainError(error) }),
    )
    .finally(endRuntime);
}
