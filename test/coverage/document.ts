/** docs/coverage.md: architectures by exporter by form, made of the recorded results. */
import * as path from 'node:path';
import { FIXTURES } from '../support/fixtures';
import { BY_HAND, EXPORTERS, parseName } from './name';
import type { RecordedResult } from './recorded';
import { MODES } from './result';

export const README = path.join(FIXTURES, '../README.md');
export const DOCUMENT = path.join(FIXTURES, '../docs/coverage.md');

const COLUMNS = [...Object.values(EXPORTERS), BY_HAND];

type Row = ReadonlyMap<string, readonly RecordedResult[]>;

/** `17 sdpa`, and behind it what is not rewritten in which mode. */
function cell(results: readonly RecordedResult[]): string {
  return results
    .map((result) => {
      const { form } = parseName(result.name);
      return `${form === '' ? 'as it is' : form}${remark(result)}`;
    })
    .join(', ');
}

function remark({ candidates, modes: { zero, preserve, split } }: RecordedResult): string {
  if (zero === 'verified' && preserve === 'verified') return split === 'verified' ? '' : ` (split: ${split})`;
  if (candidates === 0 && zero === 'no-attention') return ' (none in it)';
  return zero === preserve && zero === split
    ? ` **${zero}**`
    : ` **${[`zero: ${zero}`, `preserve: ${preserve}`, `split: ${split}`].join('; ')}**`;
}

function rowsOf(results: readonly RecordedResult[]): Map<string, Map<string, RecordedResult[]>> {
  const rows = new Map<string, Map<string, RecordedResult[]>>();
  for (const result of results) {
    const { model, exporter } = parseName(result.name);
    const row = rows.get(model) ?? new Map<string, RecordedResult[]>();
    rows.set(model, row.set(exporter, [...(row.get(exporter) ?? []), result]));
  }
  return new Map([...rows].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function line(name: string, row: Row): string {
  return `| ${name} | ${COLUMNS.map((column) => cell(row.get(column) ?? [])).join(' | ')} |`;
}

/** Numbers for the head of the document and for the README. */
export function summaryOf(results: readonly RecordedResult[]): Record<string, number> {
  const count = (fits: (result: RecordedResult) => boolean) => results.filter(fits).length;
  const all = (fits: (word: string) => boolean) => (result: RecordedResult) =>
    MODES.every((mode) => fits(result.modes[mode]));
  const names = results.map(({ name }) => parseName(name));
  return {
    exports: results.length,
    architectures: new Set(names.map(({ model }) => model.split('-')[0])).size,
    exporters: new Set(names.map(({ exporter }) => exporter)).size,
    attentions: results.reduce((sum, { candidates }) => sum + candidates, 0),
    found: results.reduce((sum, { found }) => sum + found, 0),
    'rewritten and verified': count(
      ({ modes }) => modes.zero === 'verified' && modes.preserve === 'verified',
    ),
    'also with split heads': count(all((word) => word === 'verified')),
    'without attention': count(all((word) => word === 'no-attention')),
  };
}

export function documentOf(results: readonly RecordedResult[]): string {
  const summary = Object.entries(summaryOf(results)).map(([what, count]) => `| ${what} | ${count} |`);
  const rows = [...rowsOf(results)].map(([name, row]) => line(name, row));
  return `# What becomes of real exports

Written by \`npm run coverage:models -- --update\` from the models in [fixtures](../fixtures/README.md); do not edit. A test
compares it with what the models give.

| | |
|---|---|
${summary.join('\n')}

An entry is a form in which an exporter wrote an architecture: operator set, kind of attention, variant. With nothing behind
it, every attention in it is rewritten with duplicate heads (zero init without norm, and preserve: the outputs stay) and with
split heads (each layer is proven in float64). Where split heads alone are refused, the reason stands behind it in
parentheses; in bold stands why an export is not rewritten. \`odd-heads\`: the model has an odd number of key/value heads.
Reasons are those of \`diffx inspect --explain\`.

| architecture | ${COLUMNS.join(' | ')} |
|---|${COLUMNS.map(() => '---|').join('')}
${rows.join('\n')}
`;
}

const SUMMARY =
  /(becomes of )\d+( bundled\s+exports\s+of )\d+(\s+architectures\s+by )\d+(\s+ways[\s\S]*?: in )\d+(\s+of\s+them[\s\S]*?, in )\d+(\s+with\s+split\s+heads\s+too; )\d+(\s+have\s+no\s+attention)/;

/** The README with the numbers of these results in its summary. */
export function readmeWith(text: string, results: readonly RecordedResult[]): string {
  const numbers = summaryOf(results);
  const names = [
    'exports',
    'architectures',
    'exporters',
    'rewritten and verified',
    'also with split heads',
    'without attention',
  ];
  if (!SUMMARY.test(text)) throw new Error('the README has no summary of docs/coverage.md');
  return text.replace(
    SUMMARY,
    (_, first: string, ...rest: string[]) =>
      first + names.map((name, at) => `${numbers[name]}${rest[at]}`).join(''),
  );
}
