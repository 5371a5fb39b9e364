import { printable } from './printable';
import { bytes, digits, PLAIN, plural, type Style } from './text';

/** A model before or after a rewrite. */
export interface DebugSide {
  readonly nodes: number;
  readonly parameters: number;
  /** Side files included. */
  readonly bytes: number;
  readonly attentions: number;
  /** Of one run; null where the model does not run. */
  readonly milliseconds: number | null;
}

/** Greedy decoding by both models. */
export interface DebugDecoding {
  readonly prompt: readonly number[];
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** Whether keys and values came from the caches, before and after. */
  readonly cached: readonly [boolean, boolean];
  readonly match: boolean;
}

/** What `diffx rewrite --debug` shows: both models side by side. */
export interface DebugReport {
  readonly before: DebugSide;
  readonly after: DebugSide;
  /** The inputs of the run; null where there was none. */
  readonly inputs: string | null;
  /** Outputs that both models have in one shape, with the largest difference. */
  readonly outputs: Readonly<Record<string, { readonly maxAbs: number; readonly match: boolean }>>;
  /** Whether all of them match; null where nothing was run. */
  readonly match: boolean | null;
  /** Why there is no run of one of the models; null where there is. */
  readonly notRun: string | null;
  /** Null where the model is no decoder. */
  readonly decoding: DebugDecoding | null;
  readonly notDecoded: string | null;
  /** Whether the options keep what the model computes. */
  readonly matchExpected: boolean;
  /** Why, or why not. */
  readonly because: string;
}

/** Both models side by side, for a person. */
export function debugText(report: DebugReport, style: Style = PLAIN): string[] {
  const { before, after, decoding, notDecoded, notRun } = report;
  return [
    `${style.bold('Before:')} ${sideText(before, 'attention')}`,
    `${style.bold('After:')}  ${sideText(after, 'differential attention')}`,
    ...(notRun === null ? outputsText(report) : [`Not run: ${printable(notRun)}`]),
    ...(decoding ? decodingText(decoding) : [`Not decoded: ${printable(notDecoded ?? '')}`]),
    verdict(report),
  ];
}

function sideText(
  { nodes, parameters, bytes: size, attentions, milliseconds }: DebugSide,
  what: string,
): string {
  const run = milliseconds === null ? 'not run' : `one run in ${digits(milliseconds, 3)} ms`;
  return `${plural(nodes, 'node')}, ${plural(parameters, 'parameter')}, ${bytes(size)}, ${plural(attentions, what)}, ${run}`;
}

function outputsText({ outputs, inputs, match }: DebugReport): string[] {
  return [
    `Results ${match ? 'match' : 'do not match'}, for inputs of ${inputs}:`,
    ...Object.entries(outputs).map(
      ([name, { maxAbs, match: same }]) =>
        `  ${printable(name)}: ${same ? 'match' : 'no match'}, largest difference ${digits(maxAbs, 2)}`,
    ),
  ];
}

function decodingText({ prompt, before, after, match }: DebugDecoding): string[] {
  return [
    `Generations ${match ? 'match' : 'do not match'}, greedily from tokens ${prompt.join(' ')}:`,
    `  before  ${before.join(' ')}`,
    `  after   ${after.join(' ')}`,
  ];
}

function verdict({ match, decoding, matchExpected, because }: DebugReport): string {
  const mismatch = match === false || decoding?.match === false;
  if (match === null && !decoding) return `Nothing was compared. ${because}.`;
  if (mismatch && matchExpected)
    return `This mismatch was not to be expected: ${because}. diffx verify says more; please report it.`;
  if (mismatch) return `A mismatch was to be expected: ${because}.`;
  if (matchExpected) return `A match was to be expected: ${because}.`;
  return `A mismatch would have been no surprise: ${because}.`;
}

/** The same tokens, and as many of them. */
export function tokensMatch(before: readonly number[], after: readonly number[]): boolean {
  return before.length === after.length && before.every((token, index) => token === after[index]);
}

/** Bytes of a model with its side files. */
export function totalBytes(size: number, sideFiles: readonly { readonly size: number }[]): number {
  return sideFiles.reduce((all, file) => all + file.size, size);
}
