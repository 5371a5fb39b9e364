/** The results as they are committed: what was found and what became of it, without numbers that change from run to run. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { FIXTURES } from '../support/fixtures';
import { type ExportResult, MODES, type Mode, type ModeResult } from './result';
import { fixtures } from './sources';

export interface RecordedResult {
  readonly name: string;
  readonly candidates: number;
  readonly found: number;
  /** `verified`, or the code of a refusal, or what went wrong. */
  readonly modes: Readonly<Record<Mode, string>>;
  /** Comparisons with results of PyTorch that were equal, of how many. */
  readonly references?: string;
}

const FILE = path.join(FIXTURES, 'coverage.json');

function inWord({ outcome, code }: ModeResult): string {
  return outcome === 'refused' ? (code ?? outcome) : outcome;
}

export function recorded({ name, candidates, found, modes, references }: ExportResult): RecordedResult {
  const inWords = Object.fromEntries(MODES.map((mode) => [mode, inWord(modes[mode])]));
  const equal = references.filter(({ passed }) => passed).length;
  return {
    name,
    candidates,
    found,
    modes: inWords as Record<Mode, string>,
    ...(references.length === 0 ? {} : { references: `${equal} of ${references.length}` }),
  };
}

/** Whether what was rewritten, and perhaps not run, is what is recorded. */
export function isAsRecorded(result: ExportResult, known: RecordedResult | undefined): boolean {
  const { references, ...now } = recorded(result);
  const { references: then, ...before } = known ?? { name: '' };
  return isDeepStrictEqual(now, before);
}

/** One line for each fixture, so that a change shows in a diff. Results of before stay where there are no new ones. */
export function writeRecorded(results: readonly ExportResult[]): void {
  const all = new Map(readRecorded().map((result) => [result.name, result]));
  for (const result of results) all.set(result.name, recorded(result));
  const lines = fixtures().flatMap(({ name }) => {
    const result = all.get(name);
    return result ? [`  ${JSON.stringify(result)}`] : [];
  });
  fs.writeFileSync(FILE, `[\n${lines.join(',\n')}\n]\n`);
}

export function readRecorded(): RecordedResult[] {
  return fs.existsSync(FILE) ? JSON.parse(fs.readFileSync(FILE, 'utf8')) : [];
}
