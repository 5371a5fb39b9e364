import type { TensorComparison } from '../../verify/compare';
import type { Check, PlacementAtLevel, VerifyReport } from '../../verify/report';
import type { Timing } from '../../verify/timings';
import { count, duration, plural } from '../text';
import { errorText, Name, Section, Table, type TableColumn, Verdict } from './parts';

/** Every check, with what it found. */
export function Checks({ report }: { report: VerifyReport }) {
  return (
    <Section id="checks" title="Checks">
      <Table caption={plural(report.checks.length, 'check')} columns={CHECKS} rows={report.checks} />
      <Findings checks={report.checks} />
      <Outputs checks={report.checks} />
      <details>
        <summary>{plural(report.cases.length, 'input')} tried</summary>
        <ul>
          {report.cases.map((text) => (
            <li>{text}</li>
          ))}
        </ul>
      </details>
      {report.notVerified.length > 0 && (
        <details open>
          <summary>Not looked at</summary>
          <ul>
            {report.notVerified.map((text) => (
              <li>{text}</li>
            ))}
          </ul>
        </details>
      )}
    </Section>
  );
}

const CHECKS: readonly TableColumn<Check>[] = [
  { title: 'result', cell: ({ passed }) => <Verdict passed={passed} yes="pass" no="FAIL" /> },
  { title: 'what must be true', cell: ({ states }) => states },
  { title: 'comparisons', number: true, cell: ({ compared }) => count(compared) },
  { title: 'largest error', number: true, cell: ({ maxAbs }) => errorText(maxAbs) },
  { title: 'allowed', number: true, cell: ({ tolerance }) => errorText(tolerance?.atol) },
  { title: 'and of the value', number: true, cell: ({ tolerance }) => errorText(tolerance?.rtol) },
];

function Findings({ checks }: { checks: readonly Check[] }) {
  const found = checks.flatMap(({ name, findings }) => findings.map((finding) => ({ name, ...finding })));
  if (found.length === 0) return null;
  return (
    <Table
      caption={plural(found.length, 'finding')}
      columns={[
        { title: 'check', cell: ({ name }) => name },
        { title: 'layer', cell: ({ layer }) => layer !== undefined && <Name of={layer} /> },
        { title: 'what was found', cell: ({ message }) => message },
      ]}
      rows={found}
    />
  );
}

/** Checks that compare whole outputs. */
const OF_OUTPUTS: ReadonlySet<string> = new Set([
  'function',
  'providers',
  'mix',
  'neutralised',
  'recorded-outputs',
]);

interface Output {
  readonly check: string;
  readonly provider: string;
  readonly name: string;
  readonly numbers: TensorComparison;
}

function Outputs({ checks }: { checks: readonly Check[] }) {
  const rows = checks
    .filter(({ name }) => OF_OUTPUTS.has(name))
    .flatMap(({ name: check, provider, comparisons }): Output[] =>
      Object.entries(comparisons).map(([name, numbers]) => ({
        check,
        provider: provider ?? 'cpu',
        name,
        numbers,
      })),
    );
  if (rows.length === 0) return null;
  return (
    <Table
      caption="Outputs"
      columns={[
        { title: 'output', cell: ({ name }) => <Name of={name} /> },
        { title: 'check', cell: ({ check }) => check },
        { title: 'on', cell: ({ provider }) => provider },
        { title: 'max abs', number: true, cell: ({ numbers }) => errorText(numbers.maxAbs) },
        { title: 'max rel', number: true, cell: ({ numbers }) => errorText(numbers.maxRelative) },
        { title: 'rms', number: true, cell: ({ numbers }) => errorText(numbers.rms) },
        { title: 'cosine', number: true, cell: ({ numbers }) => numbers.cosine.toFixed(6) },
        {
          title: 'top-1',
          number: true,
          cell: ({ numbers: { top1 } }) => (top1 === undefined ? '-' : `${(100 * top1).toFixed(1)} %`),
        },
      ]}
      rows={rows}
    />
  );
}

/** ONNX Runtime's own graph optimizations. */
const LEVELS = { all: 'optimized', disabled: 'not optimized' } as const;

/** Which nodes ran where, on each provider. */
export function Placements({ placements }: { placements: readonly PlacementAtLevel[] }) {
  return (
    <Section id="placement" title="Placement">
      <p>Read off ONNX Runtime's profile.</p>
      {placements.map(({ provider, optimization, ran, fellBack }) => (
        <details open={fellBack.some(({ computes }) => computes)}>
          <summary>
            {provider}, {LEVELS[optimization]}: {plural(ran, 'node')} ran there, {count(fellBack.length)} on
            the CPU
          </summary>
          <Table
            caption={`on the CPU instead of ${provider}`}
            columns={[
              { title: 'operator', cell: ({ opType }) => opType },
              { title: 'node', cell: ({ name }) => <Name of={name} /> },
              {
                title: 'what',
                cell: ({ computes }) => (
                  <Verdict passed={!computes} yes="shape arithmetic" no="computes: must not be there" />
                ),
              },
            ]}
            rows={fellBack}
          />
        </details>
      ))}
    </Section>
  );
}

/** How long models took to load and to run in a verification. */
export function RunTimes({ timings }: { timings: readonly Timing[] }) {
  return (
    <Table
      caption="Models in the verification (small inputs, with other work beside: no benchmark)"
      columns={[
        { title: 'model', cell: ({ model }) => (model === 'copy' ? 'changed copies' : model) },
        { title: 'on', cell: ({ provider }) => provider },
        { title: 'how', cell: ({ optimization }) => LEVELS[optimization] },
        { title: 'loads', number: true, cell: ({ loads }) => count(loads) },
        { title: 'loading', number: true, cell: ({ loadMilliseconds }) => duration(loadMilliseconds) },
        { title: 'runs', number: true, cell: ({ runs }) => count(runs) },
        { title: 'running', number: true, cell: ({ runMilliseconds }) => duration(runMilliseconds) },
        {
          title: 'each run',
          number: true,
          cell: ({ runs, runMilliseconds }) =>
            runs === 0 ? '-' : `${(runMilliseconds / runs).toFixed(1)} ms`,
        },
      ]}
      rows={timings}
    />
  );
}
