import { pathKind } from './path';
import type { RewrittenLayer } from './record';

/** Which layers are monitored, and what they are called: SPEC section 7. */

/** Metrics that a run gives, of the positive and the negative component. */
export const RUN_METRICS = ['attn1_mean', 'attn1_std', 'attn2_mean', 'attn2_std'] as const;
export type RunMetric = (typeof RUN_METRICS)[number];

/**
 * What the metrics of a layer are taken over, as in the original:
 * - `probabilities`: the attention maps A1 and A2, as its eager attention logs them
 * - `outputs`: A1 V and A2 V, as its SDPA and flash attention log them, where a fused operator keeps the maps to itself
 */
export type MonitoredValues = 'probabilities' | 'outputs';

/** A layer with metrics among the outputs of the model. */
export interface MonitoredLayer {
  readonly number: number;
  readonly path: string;
  readonly of: MonitoredValues;
  /** Names of the outputs. */
  readonly outputs: Readonly<Record<RunMetric, string>>;
  /** Names of the values that hand the metrics out of bodies of `If`. */
  readonly inside: readonly string[];
}

/** A set of attention weights; several layers of the record where the model runs it more than once. */
export interface NumberedLayer {
  /** The i of `layer_<i>`. */
  readonly number: number;
  readonly path: string;
  readonly runs: readonly RewrittenLayer[];
}

/**
 * The layers of a rewritten model in the order of their numbers. A layer's number is its depth. Where a model has
 * attentions of several kinds (encoder, decoder, cross-attention), each kind counts on from the one before.
 */
export function numberLayers(layers: readonly RewrittenLayer[]): NumberedLayer[] {
  const kinds = new Map<string, Map<string, RewrittenLayer[]>>();
  for (const layer of layers) {
    const kind = pathKind(layer.path);
    const paths = kinds.get(kind) ?? new Map<string, RewrittenLayer[]>();
    kinds.set(kind, paths);
    paths.set(layer.path, [...(paths.get(layer.path) ?? []), layer]);
  }
  let first = 0;
  return [...kinds.values()].flatMap((paths) => {
    const numbered = [...paths].map(([path, runs]) => ({
      number: first + (runs[0]?.depth ?? 0),
      path,
      runs,
    }));
    numbered.sort((a, b) => a.number - b.number);
    first = (numbered.at(-1)?.number ?? -1) + 1;
    return numbered;
  });
}

/**
 * So many of the elements, evenly, the first and the last among them: `round(i * (L - 1) / (N - 1))`. Halves go to the
 * even number, as the original's `round` does it. Of fewer elements, all.
 */
export function pickEvenly<T>(all: readonly T[], wanted: number): T[] {
  const count = Math.min(wanted, all.length);
  const stride = count > 1 ? (all.length - 1) / (count - 1) : 0;
  return Array.from({ length: count }, (_, index) => all[roundHalfToEven(index * stride)]).flatMap(
    (each) => each ?? [],
  );
}

function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

/** What the original calls a metric of a layer. */
export function metricName({ number }: Pick<NumberedLayer, 'number'>, metric: string): string {
  return `layer_${number}/${metric}`;
}
