import type { RecordedOptions } from '../attention/record';
import type { DifferentialLayer, NotUnderstood } from './inspection';
import { LAMBDAS, optionsText, PLACE_COLUMNS } from './inspection-text';
import { printable } from './printable';
import { type TableOptions, table } from './table';
import { bytes, count, duration, PLAIN, plural, wroteLine } from './text';
import { type SavedWeights, savedText, type WeightsReport, weightsText } from './weights';

/** What `diffx rewrite` did. Plain data: the JSON of the command holds this, field for field. */
export interface RewriteReport {
  readonly input: string;
  /** The path, or `-` for standard output. */
  readonly output: string;
  /** Bytes written, side file included. */
  readonly bytes: number;
  readonly options: RecordedOptions;
  /** Candidates found in the source, understood or not. */
  readonly found: number;
  readonly layers: readonly DifferentialLayer[];
  /** Attentions that were left by permission (`--allow-partial`, `--layers`). */
  readonly left: readonly NotUnderstood[];
  /** Paths of the attentions that `--layers` did not choose. */
  readonly notChosen: readonly string[];
  readonly parametersAdded: number;
  /** What became of the checkpoint of `--weights`; null without one. */
  readonly weights: WeightsReport | null;
  /** The checkpoint of `--save-weights`; null without one. */
  readonly saved: SavedWeights | null;
  /** The updated configuration; null without `--config`. */
  readonly config: string | null;
  readonly milliseconds: number;
}

/** The summary of a rewrite for a person. */
export function rewriteText(report: RewriteReport, options: TableOptions = {}): string[] {
  const { style = PLAIN } = options;
  const { layers, left, notChosen, weights } = report;
  const done = [
    `${plural(report.found, 'attention')} found`,
    `${count(layers.length)} rewritten`,
    ...(notChosen.length > 0 ? [`${count(notChosen.length)} not chosen`] : []),
    ...(left.length > 0 ? [`${count(left.length)} left as they are`] : []),
  ];
  const target = report.output === '-' ? 'to standard output' : report.output;
  return [
    `${style.bold(printable(report.input))}: ${done.join(', ')}`,
    `Preset ${report.options.preset}: ${optionsText(report.options)}`,
    ...table(layers, [...PLACE_COLUMNS, ...LAMBDAS], options),
    `${plural(report.parametersAdded, 'parameter')} added`,
    ...(weights ? weightsText(weights, style) : []),
    `${style.green('Wrote')} ${style.bold(printable(target))}, ${bytes(report.bytes)}, in ${duration(report.milliseconds)}`,
    ...(report.config === null ? [] : [wroteLine(report.config, style)]),
    ...(report.saved ? savedText(report.saved, style) : []),
  ];
}
