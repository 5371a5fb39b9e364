import { isatty } from 'node:tty';
import { errors } from '../errors';
import { reasonOf } from '../onnx/file-errors';
import { SCHEMA_VERSION } from '../report/documents';
import { printable, printableJson, printableLines, printableStyled } from '../report/printable';
import { COLOUR, PLAIN, type Style } from '../report/text';
import type { CommonOptions } from './commands/options';
import type { JobResult, Look, PlainError } from './job';

type Stream = 'stdout' | 'stderr';
const DESCRIPTORS: Readonly<Record<Stream, number>> = { stdout: 1, stderr: 2 };

/** Whether a stream is a terminal, asked without opening it: a model may go to its descriptor directly. */
export function isTerminal(stream: Stream): boolean {
  return isatty(DESCRIPTORS[stream]);
}

/** How text for a stream shall look. NO_COLOR: see no-color.org. */
export function lookOf(stream: Stream): Look {
  if (!isTerminal(stream)) return { width: undefined, colour: false };
  const { NO_COLOR = '', TERM } = process.env;
  return { width: process[stream].columns || 80, colour: NO_COLOR === '' && TERM !== 'dumb' };
}

/** Everything that a command prints: results on standard output, everything else on standard error. */
export class Output {
  readonly #warnings: string[] = [];
  readonly #style: Style = lookOf('stderr').colour ? COLOUR : PLAIN;

  constructor(
    /** Name of the command, for the JSON. */
    readonly command: string,
    readonly options: CommonOptions,
  ) {}

  warning(text: string): void {
    this.#warnings.push(text);
    if (!this.options.quiet) write('stderr', `${this.#style.yellow('warning:')} ${printable(text)}\n`);
  }

  dump(text: string): void {
    write('stderr', printableLines(text));
  }

  result({ document, text, outputTaken, error }: JobResult): void {
    if (this.options.json) this.#json(error ? { ...document, error: shown(error) } : document);
    else if (!this.options.quiet)
      write(outputTaken ? 'stderr' : 'stdout', `${text.map(printableStyled).join('\n')}\n`);
    if (error) this.#lines(error);
  }

  failure(error: PlainError): void {
    if (this.options.json) this.#json({ error: shown(error) });
    this.#lines(error);
  }

  #json(document: object): void {
    const whole = {
      schemaVersion: SCHEMA_VERSION,
      command: this.command,
      ...document,
      warnings: this.#warnings,
    };
    write('stdout', `${printableJson(JSON.stringify(whole, null, 2))}\n`);
  }

  #lines({ message, remedy, stack }: PlainError): void {
    const lines = [`${this.#style.red('error:')} ${printable(message)}`];
    if (remedy !== '') lines.push(`${this.#style.bold('hint:')} ${printable(remedy)}`);
    if (this.options.debug && stack !== undefined) lines.push(printableLines(stack));
    write('stderr', `${lines.join('\n')}\n`);
  }
}

function shown({ code, message, remedy, exitCode }: PlainError): object {
  return { code, message, remedy, exitCode };
}

const listening = new Set<Stream>();

/** A reader that goes away (`| head`) is no error. Without standard error there is nobody to tell anything. */
function write(stream: Stream, text: string): void {
  if (!listening.has(stream)) {
    listening.add(stream);
    process[stream].on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE' || stream === 'stderr') return;
      const { message, exitCode } = errors.unwritable('standard output', reasonOf(error));
      write('stderr', `error: ${message}\n`);
      process.exitCode ||= exitCode;
    });
  }
  process[stream].write(text);
}
