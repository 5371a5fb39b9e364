import type { TensorComparison } from '../verify/compare';
import type { Check, VerifyReport } from '../verify/report';
import { printable } from './printable';
import { type Column, type TableOptions, table } from './table';
import { PLAIN, plural, scientific, wrap } from './text';

/** Findings of one check that are printed; the JSON has all. */
const MOST_FINDINGS = 5;
/** Inputs that one check left out; the JSON has all. */
const MOST_LEFT_OUT = 3;
/** Comparisons of one check that are printed; the JSON has all. */
const MOST_COMPARISONS = 12;

/** Inputs that are named; the JSON has all. */
const MOST_CASES = 5;

/** A verification as text for a person. */
export function verificationText(report: VerifyReport, options: TableOptions = {}): string[] {
  const { style = PLAIN } = options;
  const verdict = report.passed ? style.green('verified') : style.red('not verified');
  return [
    `${style.bold(printable(report.rewritten))}: ${verdict} against ${printable(report.original)} on ${report.provider}`,
    ...report.checks.flatMap((check) => checkLines(check, options)),
    ...comparisonLines(report, options),
    ...placementLines(report),
    ...caseLines(report, options),
    ...report.notVerified.map((what) => style.yellow(`Not looked at: ${printable(what)}`)),
    ...(report.firstDivergingLayer === undefined
      ? []
      : [style.red(`First layer that diverges: ${printable(report.firstDivergingLayer)}`)]),
  ];
}

function checkLines(check: Check, { style = PLAIN }: TableOptions): string[] {
  const mark = check.passed ? style.green('pass') : style.red('FAIL');
  const { maxAbs } = check;
  const error = maxAbs === undefined ? '' : `, largest error ${scientific(maxAbs)}`;
  const shown = check.findings.slice(0, MOST_FINDINGS).map(({ message, layer }) => {
    return `        ${printable(layer === undefined ? message : `${layer}: ${message}`)}`;
  });
  const more = check.findings.length - shown.length;
  const { inputs, leftOut } = check;
  const on = inputs === undefined ? '' : ` with ${plural(inputs, 'input')}`;
  return [
    `  ${mark}  ${check.states} (${plural(check.compared, 'comparison')}${on}${error})`,
    ...leftOut
      .slice(0, MOST_LEFT_OUT)
      .map(({ input, reason }) => `        Left out: ${printable(`${input}: ${reason}`)}`),
    ...(leftOut.length > MOST_LEFT_OUT ? [`        and ${leftOut.length - MOST_LEFT_OUT} more`] : []),
    ...shown,
    ...(more > 0 ? [`        and ${more} more`] : []),
  ];
}

/** What stayed on the CPU, by operator; the JSON has every node. */
function placementLines({ placements }: VerifyReport): string[] {
  const widest = new Map(placements.map((placement) => [placement.provider, placement]));
  for (const placement of placements) {
    if (placement.fellBack.length > (widest.get(placement.provider)?.fellBack.length ?? 0))
      widest.set(placement.provider, placement);
  }
  return [...widest.values()].map(({ provider, ran, fellBack }) => {
    const counts = new Map<string, number>();
    for (const { opType } of fellBack) counts.set(opType, (counts.get(opType) ?? 0) + 1);
    const operators = [...counts].sort((a, b) => b[1] - a[1]).map(([opType, count]) => `${opType} ${count}`);
    const rest = fellBack.length === 0 ? '' : `, ${fellBack.length} on the CPU: ${operators.join(', ')}`;
    return printable(`${provider}: ${plural(ran, 'node')} ran there${rest}`);
  });
}

/** What the models were run on, and how far their numbers may be apart. */
function caseLines({ cases, checks }: VerifyReport, { width }: TableOptions): string[] {
  const allowed = new Map<string, string>();
  for (const { tolerance, provider } of checks) {
    const place = provider === undefined ? '' : ` on ${provider}`;
    if (tolerance && !allowed.has(place))
      allowed.set(
        place,
        `${scientific(tolerance.atol)} and ${scientific(tolerance.rtol)} of the value${place}`,
      );
  }
  const slack = checks
    .flatMap(({ comparisons }) => Object.values(comparisons))
    .reduce((most, each) => Math.max(most, each.slack), 0);
  const besides =
    slack > 0 ? `, and up to ${scientific(slack)} more in rows whose masked scores are rounded coarsely` : '';
  const more = cases.length - MOST_CASES;
  const named = [...cases.slice(0, MOST_CASES), ...(more > 0 ? [`and ${more} more`] : [])];
  return [
    ...wrap(`${plural(cases.length, 'input')} tried: ${printable(named.join('; ')) || 'none'}`, width),
    ...(allowed.size === 0
      ? []
      : wrap(`Errors allowed: ${[...allowed.values()].join('; ')}${besides}`, width)),
  ];
}

/** The numbers behind the checks that compare outputs with those of the original. */
function comparisonLines(report: VerifyReport, options: TableOptions): string[] {
  type Row = readonly [string, TensorComparison];
  const rows = report.checks
    .filter(({ name }) => name === 'function' || name === 'recorded-outputs')
    .flatMap(({ comparisons, provider }): Row[] =>
      Object.entries(comparisons).map(([name, numbers]) => [
        provider === undefined ? name : `${name} on ${provider}`,
        numbers,
      ]),
    );
  if (rows.length === 0) return [];
  const columns: Column<Row>[] = [
    { title: 'output', cell: ([name]) => name, cut: 'middle' },
    { title: 'max abs', cell: ([, { maxAbs }]) => scientific(maxAbs) },
    { title: 'max rel', cell: ([, { maxRelative }]) => scientific(maxRelative) },
    { title: 'rms', cell: ([, { rms }]) => scientific(rms) },
    { title: 'cosine', cell: ([, { cosine }]) => cosine.toFixed(6) },
    { title: 'top-1', cell: ([, { top1 }]) => (top1 === undefined ? '-' : `${(100 * top1).toFixed(1)} %`) },
  ];
  const lines = table(rows.slice(0, MOST_COMPARISONS), columns, options);
  const more = rows.length - MOST_COMPARISONS;
  return more > 0 ? [...lines, `  and ${more} more`] : lines;
}

/** What went wrong, in a few words: the first finding. */
export function firstFinding(report: VerifyReport): string {
  const failed = report.checks.find(({ passed }) => !passed);
  const finding = failed?.findings[0];
  if (!failed || !finding) return failed ? `${failed.name}: nothing was compared` : 'no check ran';
  const layer = report.firstDivergingLayer ?? finding.layer;
  return `${failed.name}: ${layer === undefined || finding.message.includes(layer) ? '' : `${layer}: `}${finding.message}`;
}
