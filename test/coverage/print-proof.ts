/** What was proven on an execution provider: a line for each export as it comes, then the totals. */
import { plural } from '../../src/report/text';
import { concerns, type Refusal } from './expected';
import type { Proof, ProvenExport, Verdict } from './proof';
import type { Mode } from './result';

const IN_WORDS: Readonly<Record<Verdict, string>> = {
  proven: 'verified',
  original: 'the original itself fails there',
  refused: 'refused',
  alarm: 'FALSE ALARM',
  broken: 'BROKEN',
};

type Each = readonly [mode: Mode, proof: Proof];

function each({ modes }: ProvenExport): Each[] {
  return Object.entries(modes) as [Mode, Proof][];
}

/** A line for each export, and below it why it is not verified there. */
export function proofLines(result: ProvenExport): string[] {
  const words = each(result).map(([mode, { verdict, code }]) => {
    const why = verdict === 'refused' ? ` (${code})` : '';
    return `${mode} ${IN_WORDS[verdict]}${why}`;
  });
  const details = new Set(
    each(result).flatMap(([, { verdict, detail = '' }]) =>
      verdict === 'proven' || verdict === 'refused' ? [] : [`    ${detail.split('\n', 1)[0]}`],
    ),
  );
  return [`${result.name}: ${words.join(', ')}`, ...details];
}

/** What is not as it must be, one line each: false alarms, and refusals that nobody knows of. */
export function proofFaults(result: ProvenExport, refusals: readonly Refusal[]): string[] {
  const known = refusals.filter((refusal) => concerns(refusal, result.name));
  return each(result).flatMap(([mode, { verdict, code, detail = '' }]) => {
    if (verdict === 'proven' || verdict === 'original') return [];
    const expected = known.some(
      (refusal) => (mode === 'split' ? (refusal.split ?? refusal.code) : refusal.code) === code,
    );
    if (verdict === 'refused' && expected) return [];
    return [`${result.name}: ${mode}: ${IN_WORDS[verdict]}: ${detail.split('\n', 1)[0]}`];
  });
}

/** The faults once more, and how many of each verdict there are in each mode. */
export function proofTotals(
  results: readonly ProvenExport[],
  ep: string,
  refusals: readonly Refusal[],
): string[] {
  const faults = results.flatMap((result) => proofFaults(result, refusals));
  const counts = new Map<Mode, Map<Verdict, number>>();
  for (const [mode, { verdict }] of results.flatMap(each)) {
    const ofMode = counts.get(mode) ?? new Map<Verdict, number>();
    counts.set(mode, ofMode.set(verdict, (ofMode.get(verdict) ?? 0) + 1));
  }
  return [
    ...faults,
    `${plural(results.length, 'export')} on ${ep}`,
    ...[...counts].map(([mode, verdicts]) => {
      const words = [...verdicts].map(([verdict, count]) => `${count} ${IN_WORDS[verdict]}`);
      return `${mode}: ${words.join(', ')}`;
    }),
    faults.length === 0 ? 'no false alarm' : plural(faults.length, 'fault'),
  ];
}
