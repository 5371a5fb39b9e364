/** Sessions in documents: ```console blocks, whose lines that begin with `$ ` are run, and must print what follows. */
import { type Block, blocksOf } from './markdown';
import { shell } from './project';

export interface Step {
  readonly command: string;
  /** Lines that the document shows below the command. */
  readonly shown: readonly string[];
  /** Of the command, in the document, from 1. */
  readonly line: number;
}

export function stepsOf(document: string): Step[] {
  return blocksOf(document)
    .filter(({ language }) => language === 'console')
    .flatMap(stepsOfBlock);
}

function stepsOfBlock({ lines, line }: Block): Step[] {
  const starts = lines.flatMap((text, index) => (text.startsWith('$ ') ? [index] : []));
  if (starts[0] !== 0) throw new Error(`line ${line}: a session begins with a command`);
  return starts.map((start, n) => ({
    command: (lines[start] ?? '').slice(2),
    shown: lines.slice(start + 1, starts[n + 1]).filter((text) => text !== ''),
    line: line + 1 + start,
  }));
}

export interface Ran extends Step {
  readonly printed: readonly string[];
  /** The same with its blank lines. */
  readonly text: readonly string[];
}

/** Runs all steps in one folder; `$?` is what the step before ended with. */
export function runSteps(steps: readonly Step[], folder: string): Ran[] {
  let last = 0;
  return steps.map((step) => {
    const { text, code } = shell(`(exit ${last})\n${step.command}`, folder);
    last = code;
    const lines = text.trimEnd().split('\n');
    return { ...step, printed: lines.filter((line) => line !== ''), text: text === '' ? [] : lines };
  });
}

/**
 * Takes out what differs from machine to machine and from run to run (times, rounding errors), how much was compared,
 * and the space between columns.
 */
export function withoutMeasurements(line: string): string {
  return line
    .replace(/, in [\d.]+ m?s$/, ', in TIME')
    .replace(/"milliseconds": \d+/, '"milliseconds": TIME')
    .replace(/\([\d,]+ comparisons?/, '(MANY comparisons')
    .replace(/largest error [\d.e-]+/, 'largest error SMALL')
    .replace(/(?<=\s)\d(\.\d)?e-\d+(?=\s)/g, 'SMALL')
    .replace(/(?<=\S) {2,}/g, '  ');
}

/** The document with what the steps printed in place of what it showed. */
export function withPrinted(document: string, ran: readonly Ran[]): string {
  const lines = document.split('\n');
  for (const { line, shown, printed, text } of [...ran].reverse()) {
    if (shown.map(withoutMeasurements).join('\n') === printed.map(withoutMeasurements).join('\n')) continue;
    const end = lines.findIndex((each, index) => index >= line && /^(\$ |```)/.test(each));
    lines.splice(line, end - line, ...text);
  }
  return lines.join('\n');
}
