import { metricName, RUN_METRICS } from '../attention/monitored';
import type { MonitorReport } from '../monitor/run';
import { printable } from './printable';
import { type Column, type TableOptions, table } from './table';
import { digits, duration, PLAIN, plural } from './text';

/** What a run over batches came to, and where it was written. */
export interface WrittenMonitorReport extends MonitorReport {
  readonly files: readonly string[];
  readonly milliseconds: number;
}

const MIX = 'aggregate/diff_attn_mix';

/** The last logged step as tables for a person. */
export function monitorText(report: WrittenMonitorReport, options: TableOptions = {}): string[] {
  const { style = PLAIN } = options;
  const { batches, logged, layers, files, milliseconds } = report;
  const last = logged.at(-1);
  if (!last) return [];
  const { metrics, step } = last;
  const mix = value(metrics[MIX]);
  return [
    `${style.bold(printable(report.model))}: ${plural(batches.length, 'batch', 'batches')}, ${plural(logged.length, 'step')} logged`,
    `Step ${step}, diff_attn_mix ${mix}`,
    ...layerTable(report, metrics, options),
    ...layers.map(({ number, path }) => `  layer_${number} is ${printable(path)}`),
    ...aggregateTable(metrics, options),
    `${style.green('Wrote')} ${files.map((file) => style.bold(printable(file))).join(' and ')}, in ${duration(milliseconds)}`,
  ];
}

type Metrics = MonitorReport['logged'][number]['metrics'];

/** A column for each monitored layer. */
function layerTable({ layers }: MonitorReport, metrics: Metrics, options: TableOptions): string[] {
  if (layers.length === 0) return [];
  const names = new Set(
    Object.keys(metrics).flatMap((name) => (name.startsWith('layer_') ? (name.split('/')[1] ?? []) : [])),
  );
  const columns: Column<string>[] = [
    { title: 'metric', cell: (name) => name },
    ...layers.map((layer): Column<string> => {
      return { title: `layer_${layer.number}`, cell: (name) => value(metrics[metricName(layer, name)]) };
    }),
  ];
  return table([...names], columns, options);
}

function aggregateTable(metrics: Metrics, options: TableOptions): string[] {
  const names = Object.keys(metrics).flatMap((name) => /^aggregate\/(.*)_mean$/.exec(name)?.[1] ?? []);
  if (names.length === 0) return [];
  const columns: Column<string>[] = [
    { title: 'over all layers', cell: (name) => name },
    { title: 'mean', cell: (name) => value(metrics[`aggregate/${name}_mean`]) },
    { title: 'std', cell: (name) => value(metrics[`aggregate/${name}_std`]) },
  ];
  return table(names, columns, options);
}

function value(number: number | undefined): string {
  return number === undefined || Number.isNaN(number) ? '-' : digits(number, 4);
}

/** What a person should know of a run that went well. */
export function monitorWarnings(report: MonitorReport): string[] {
  const { notMonitored, layers, warmupSteps, mixInput } = report;
  const hidden = layers.filter((layer) => layer.of === 'outputs').map(({ number }) => `layer_${number}`);
  return [
    ...(warmupSteps > 0 && !mixInput
      ? ['the model has no input diff_attn_mix, so there is no warm-up: rewrite it with --mix-input']
      : []),
    ...notMonitored.map(
      ({ number, path, reason }) => `layer_${number} (${path}): no ${RUN_METRICS.join(', ')}: ${reason}`,
    ),
    ...(hidden.length > 0
      ? [
          `attn1 and attn2 of ${hidden.join(', ')} are A1 V and A2 V: a fused operator keeps the maps to itself`,
        ]
      : []),
  ];
}
