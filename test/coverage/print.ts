/** Results as a table, and their totals. */
import { table } from '../../src/report/table';
import { plural } from '../../src/report/text';
import { type ExportResult, MODES, type Mode, type ModeResult } from './result';

export interface Judged extends ExportResult {
  /** What is not as it should be. */
  readonly faults: readonly string[];
}

export interface Totals {
  readonly exports: number;
  readonly candidates: number;
  readonly found: number;
  /** Attentions rewritten, exports verified, and exports refused by code. */
  readonly modes: Readonly<
    Record<Mode, { rewritten: number; verified: number; refused: Readonly<Record<string, number>> }>
  >;
  /** Comparisons with results of PyTorch, and how many were equal. */
  readonly references: { readonly compared: number; readonly equal: number };
  /** Exports that are neither right nor refused for a known reason. */
  readonly faulty: number;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, each) => all + each, 0);
}

export function totalsOf(results: readonly Judged[]): Totals {
  const references = results.flatMap((result) => result.references);
  const ofMode = (mode: Mode) => {
    const all = results.map(({ modes }) => modes[mode]);
    const refused: Record<string, number> = {};
    for (const { outcome, code = '' } of all)
      if (outcome === 'refused') refused[code] = (refused[code] ?? 0) + 1;
    return {
      rewritten: sum(all.map(({ rewritten }) => rewritten)),
      verified: all.filter(({ outcome }) => outcome === 'verified').length,
      refused,
    };
  };
  return {
    exports: results.length,
    candidates: sum(results.map(({ candidates }) => candidates)),
    found: sum(results.map(({ found }) => found)),
    modes: { zero: ofMode('zero'), preserve: ofMode('preserve'), split: ofMode('split') },
    references: { compared: references.length, equal: references.filter(({ passed }) => passed).length },
    faulty: results.filter(({ faults }) => faults.length > 0).length,
  };
}

function cell({ outcome, rewritten, code, error }: ModeResult): string {
  if (outcome === 'refused') return code ?? 'refused';
  if (outcome !== 'verified') return outcome.toUpperCase();
  return error === undefined ? `${rewritten}` : `${rewritten} ${error.toExponential(0)}`;
}

function references({ references: all }: Judged): string {
  if (all.length === 0) return '-';
  return `${all.filter(({ passed }) => passed).length} of ${all.length}`;
}

/** The table, the faults, and the totals. */
export function printed(results: readonly Judged[], totals: Totals, faultsOnly: boolean): string[] {
  const shown = faultsOnly ? results.filter(({ faults }) => faults.length > 0) : results;
  const rows = table(shown, [
    { title: 'export', cell: ({ name }) => name },
    { title: 'found', cell: ({ found, candidates }) => `${found} of ${candidates}` },
    ...MODES.map((mode) => ({ title: mode, cell: ({ modes }: Judged) => cell(modes[mode]) })),
    { title: 'references', cell: references },
  ]);
  const faults = results.flatMap(({ name, faults }) => faults.map((fault) => `${name}: ${firstLine(fault)}`));
  return [
    ...(shown.length > 0 ? rows : []),
    '',
    ...faults,
    ...(faults.length > 0 ? [''] : []),
    ...inWords(totals),
  ];
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}

function inWords({ exports, candidates, found, modes, references: compared, faulty }: Totals): string[] {
  return [
    `${plural(exports, 'export')}: ${found} of ${candidates} attentions found`,
    ...MODES.map((mode) => {
      const { rewritten, verified, refused } = modes[mode];
      const codes = Object.entries(refused).map(([code, count]) => `, ${count} refused: ${code}`);
      return `${mode}: ${rewritten} rewritten, ${plural(verified, 'export')} verified${codes.join('')}`;
    }),
    `references: ${compared.equal} of ${compared.compared} equal`,
    faulty === 0
      ? 'every export is rewritten and right, or refused for a known reason'
      : `${plural(faulty, 'export is', 'exports are')} neither right nor refused for a known reason`,
  ];
}
