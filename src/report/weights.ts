import type { LoadReport } from '../rewrite/load-weights';
import { printable } from './printable';
import { count, PLAIN, plural, type Style } from './text';

/** What became of a checkpoint. Plain data, part of the JSON of `diffx rewrite`. */
export interface WeightsReport extends LoadReport {
  /** The path that was given. */
  readonly checkpoint: string;
  readonly counts: {
    readonly loaded: number;
    readonly initialised: number;
    readonly unused: number;
    readonly guessed: number;
  };
}

/** What became of a checkpoint, counted. */
export function weightsReport(checkpoint: string, load: LoadReport): WeightsReport {
  const { loaded, initialised, unused, guessed } = load;
  const counts = {
    loaded: loaded.length,
    initialised: initialised.length,
    unused: unused.length,
    guessed: guessed.length,
  };
  return { checkpoint, counts, ...load };
}

/** The keys of a checkpoint that was saved. */
export interface SavedWeights {
  readonly path: string;
  readonly layers: number;
  /** In the order of the layers. */
  readonly keys: readonly string[];
}

/** The same for a person, in one line. */
export function savedText({ path, layers, keys }: SavedWeights, style: Style = PLAIN): string[] {
  const what = `${plural(keys.length, 'tensor')} of ${plural(layers, 'attention')}`;
  const first = keys[0] === undefined ? '' : `, the first is ${printable(keys[0])}`;
  return [`${style.green('Saved')} ${style.bold(printable(path))}: ${what}${first}`];
}

/** Names of one kind that are listed; the JSON has them all. */
const MOST_NAMES = 12;

/** The same for a person: how many of each, and by name what was not loaded. */
export function weightsText(report: WeightsReport, style: Style = PLAIN): string[] {
  const { checkpoint, counts, initialised, unused, guessed } = report;
  const sums = [
    `${plural(counts.loaded, 'tensor')} loaded`,
    `${plural(counts.initialised, 'new parameter')} initialised`,
    `${plural(counts.unused, 'key')} unused`,
    ...(counts.guessed > 0 ? [`${plural(counts.guessed, 'attention')} guessed`] : []),
  ];
  return [
    `Weights of ${printable(checkpoint)}: ${sums.join(', ')}`,
    ...listed(
      'guessed',
      guessed.map(({ path, module }) => `${path} is ${module}`),
      style,
    ),
    ...listed('initialised', initialised, style),
    ...listed('unused', unused, style),
  ];
}

function listed(what: string, names: readonly string[], style: Style): string[] {
  const more = names.length - MOST_NAMES;
  return [
    ...names.slice(0, MOST_NAMES).map((name) => `  ${what}  ${printable(name)}`),
    ...(more > 0 ? [style.faint(`  ${what}  ${count(more)} more: --json lists them`)] : []),
  ];
}
