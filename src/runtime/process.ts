/** ONNX Runtime in a process of its own: whatever happens in there, this one goes on. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import * as path from 'node:path';
import { shortage } from '../onnx/file-errors';
import { pack, Unpacker } from './parcels';
import { type Answer, DESCRIPTOR, type Parcel, type Request } from './protocol';

/** The process ended while it had something to do: what it was asked for is likely the cause. */
export class RuntimeEnded extends Error {
  override readonly name = 'RuntimeEnded';
  constructor(
    /** `was ended by SIGABRT` */
    readonly how: string,
    /** The last line that it or a native library wrote; empty where there was none. */
    readonly said: string,
    readonly signal?: NodeJS.Signals,
  ) {
    super(said === '' ? `the process ${how}` : `the process ${how}: ${said}`);
  }
}

/** The process had ended before it began with a request, which is no cause then. */
export class NotAsked extends Error {}

/** What is kept of what a process writes. */
const KEPT = 1 << 14;

/** The program lies beside this file, from sources and in the built package alike. */
const PROGRAM = path.join(__dirname, `host${path.extname(__filename)}`);

/**
 * A process that holds ONNX Runtime. It keeps this process alive only while it is asked for something, and ends with it
 * in any case. Requests are done one at a time: where it dies, there is one that it was busy with.
 */
export class RuntimeProcess {
  readonly #child: ChildProcess;
  /** Undefined where the process could not even be started. */
  readonly #pipe: Socket | undefined;
  #written = '';
  #ended: RuntimeEnded | undefined;
  /** Whether it has ever begun with anything. */
  #works = false;
  #begun = false;
  #waiting: { resolve(parcel: Parcel<Answer>): void; reject(error: Error): void } | undefined;
  #last: Promise<unknown> = Promise.resolve();
  readonly #gone: Promise<void>;

  /** @param log what ONNX Runtime itself logs: nothing by default, since errors come back as such */
  constructor(log: 'fatal' | 'warning' = 'fatal') {
    const child = spawn(process.execPath, [PROGRAM, String(process.pid), log], {
      env: process.env,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      windowsHide: true,
    });
    this.#child = child;
    // Without file handles there is no `stdio`, whatever the types say.
    const stdio = child.stdio as ChildProcess['stdio'] | undefined;
    this.#pipe = (stdio?.[DESCRIPTOR] ?? undefined) as Socket | undefined;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#written = (this.#written + text).slice(-KEPT);
      });
    }
    const unpacker = new Unpacker<Answer>((parcel) => {
      if (parcel.message.begun) {
        this.#works = this.#begun = true;
        return;
      }
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.resolve(parcel);
    });
    this.#pipe?.on('data', (piece: Uint8Array) => unpacker.add(piece));
    // What there is to say about a broken pipe is said when the process has ended.
    this.#pipe?.on('error', () => undefined);
    this.#gone = new Promise((resolve) => {
      const end = (how: string, signal?: NodeJS.Signals | null, short?: Error) => {
        this.#ended ??= new RuntimeEnded(how, lastLine(this.#written), signal ?? undefined);
        // A process that does not even start fails whoever asks it first.
        const innocent = this.#works && !this.#begun;
        this.#waiting?.reject(short ?? (innocent ? notAsked(this.#ended) : this.#ended));
        this.#waiting = undefined;
        resolve();
      };
      child.on('error', (error) =>
        end(`could not be started (${error.message})`, undefined, shortage(error, 'ONNX Runtime')),
      );
      child.on('close', (code, signal) =>
        end(signal === null ? `ended with code ${code}` : `was ended by ${signal}`, signal),
      );
    });
    this.#hold(false);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** True when it has ended. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** All that it wrote so far, the end of it where it was much. */
  get written(): string {
    return this.#written;
  }

  /**
   * Asks for something when what was asked for before is done.
   * @throws DiffxError no-file-handles and no-memory where it cannot be started for want of them, RuntimeEnded where the
   *   process ends meanwhile, NotAsked where it had ended before it began, Error with what
   *   ONNX Runtime complains about
   */
  request(message: Request, payloads: readonly Uint8Array[] = []): Promise<Parcel<Answer>> {
    const done = this.#last.then(() => this.#ask({ message, payloads }));
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #ask(parcel: Parcel<Request>): Promise<Parcel<Answer>> {
    if (this.#ended) throw notAsked(this.#ended);
    this.#hold(true);
    this.#begun = false;
    try {
      const answered = await new Promise<Parcel<Answer>>((resolve, reject) => {
        this.#waiting = { resolve, reject };
        this.#pipe?.cork();
        for (const piece of pack(parcel)) this.#pipe?.write(piece);
        this.#pipe?.uncork();
      });
      if (answered.message.error !== undefined) throw new Error(answered.message.error);
      return answered;
    } finally {
      this.#hold(false);
    }
  }

  /** Ends it, and waits until it is gone. */
  async end(): Promise<void> {
    this.#hold(true);
    this.#child.kill('SIGKILL');
    await this.#gone;
  }

  /** Whether this process waits for it. */
  #hold(held: boolean): void {
    const { stdout, stderr } = this.#child;
    const streams = [stdout, stderr, this.#pipe] as (Socket | null | undefined)[];
    for (const each of [this.#child, ...streams]) {
      if (held) each?.ref();
      else each?.unref();
    }
  }
}

function notAsked(cause: RuntimeEnded): NotAsked {
  return new NotAsked(cause.message, { cause });
}

/** Of a long line, what stands at its end; of a failed assertion, what does not hold. */
const SHOWN = 160;

function lastLine(text: string): string {
  const lines = text.split('\n').map((line) => line.replace(/\s+/g, ' ').trim());
  const last = lines.findLast((line) => line !== '') ?? '';
  const assertion = /Assertion .*$/.exec(last)?.[0];
  if (assertion !== undefined) return assertion.slice(0, SHOWN);
  return last.length <= SHOWN ? last : `...${last.slice(-SHOWN).replace(/^\S*/, '')}`;
}
