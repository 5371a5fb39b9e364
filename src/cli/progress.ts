import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { TEMPORARY } from '../onnx/owner';
import { printable } from '../report/printable';

/** Nothing is shown for work that is done sooner. */
const SILENCE = 1000;
const INTERVAL = 100;
const FRAMES = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏';
const CLEAR = '\r\u001b[K';

/** One line on a terminal that says what goes on, how long already, and how much has been written. */
export class Progress {
  readonly #started = Date.now();
  readonly #timer: NodeJS.Timeout | undefined;
  #phase = '';
  #folder: string | undefined;
  #frame = 0;

  constructor(
    readonly stream: NodeJS.WriteStream,
    enabled: boolean,
  ) {
    if (enabled) this.#timer = setInterval(() => this.#draw(), INTERVAL).unref();
  }

  phase(text: string): void {
    this.#phase = printable(text);
  }

  /** Where the writer's temporary file grows. */
  watch(folder: string): void {
    this.#folder = folder;
  }

  /** Takes the line away, so that something else can be written. */
  clear(): void {
    if (this.#frame > 0) this.stream.write(CLEAR);
    this.#frame = 0;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.clear();
  }

  #draw(): void {
    const elapsed = Date.now() - this.#started;
    if (elapsed < SILENCE) return;
    const written = this.#folder === undefined ? 0 : sizeOfTemporaries(this.#folder);
    const amount = written > 0 ? `, ${Math.round(written / 1e6)} MB` : '';
    const frame = FRAMES[this.#frame++ % FRAMES.length];
    const line = `${frame} ${this.#phase} (${Math.round(elapsed / 1000)} s${amount})`;
    this.stream.write(`${CLEAR}${[...line].slice(0, (this.stream.columns || 80) - 1).join('')}`);
  }
}

function sizeOfTemporaries(folder: string): number {
  try {
    return readdirSync(folder)
      .filter((name) => name.startsWith(TEMPORARY))
      .map((name) => statSync(join(folder, name), { throwIfNoEntry: false }))
      .reduce((all, stat) => all + (stat?.isFile() ? stat.size : 0), 0);
  } catch {
    return 0; // It is only a display.
  }
}
