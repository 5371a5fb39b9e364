/**
 * Differential attention in float64, written from SPEC section 1 alone. It shares nothing with the code that rewrites
 * models, so that one can be checked against the other.
 */
import { type Array64, assertSameShape, at, broadcastTo } from './array';
import { rmsNorm, weigh } from './attention';
import { type Pairing, pairMaps, pairValues, unpair } from './heads';

/** Held here because a lookup of a global per number is slow in some hosts (node:vm contexts, so Jest). */
const { abs, floor } = Math;

/** What follows the subtraction, and by how much the second map is subtracted. */
export interface DifferentialParameters {
  /** One number for the layer, or an array broadcastable to [B, H, S, 1]: one for each token and head. */
  readonly lambda: number | Array64;
  /** Of the warm-up; 1 without it. */
  readonly mix: number;
  /** The sublayer norm, over the width of an output head. A weight that is not there is ones. */
  readonly norm: { readonly eps: number; readonly weight?: Float64Array } | undefined;
  /** lambda_init where the preset multiplies by (1 - lambda_init). */
  readonly timesOneMinusLambdaInit: number | undefined;
  /** Of the init `preserve`; 1 without it. */
  readonly gain: number;
}

export interface DuplicateHeads extends DifferentialParameters {
  readonly A1_BHST: Array64;
  readonly A2_BHST: Array64;
  /** As many heads as A1: heads that a group shares are repeated before, see `repeatHeads`. */
  readonly V_BHTD: Array64;
}

/**
 * C = (A1 - mix * lambda * A2) V, then norm, (1 - lambda_init) and gain. Any leading axes: [B * H, S, T] as well.
 * @returns C of [B, H, S, D]
 */
export function differentialAttention(layer: DuplicateHeads): Array64 {
  return afterwards(weigh(differentialMap(layer), layer.V_BHTD), layer);
}

/** Norm, (1 - lambda_init) and gain. */
function afterwards(
  C: Array64,
  { norm, timesOneMinusLambdaInit, gain }: Omit<DifferentialParameters, 'lambda' | 'mix'>,
): Array64 {
  const normed = norm ? rmsNorm(C, norm.eps, norm.weight) : C;
  const factor = (1 - (timesOneMinusLambdaInit ?? 0)) * gain;
  const { shape, slack } = normed;
  const data = normed.data.map((value) => value * factor);
  return slack ? { shape, data, slack: slack.map((off) => off * abs(factor)) } : { shape, data };
}

export interface AttendedOutputs extends DifferentialParameters {
  /** A1 V and A2 V: [..., H, S, D]. */
  readonly Y1_BHSD: Array64;
  readonly Y2_BHSD: Array64;
}

/** The same from what the two components attended to: A1 V - mix * lambda * A2 V, then norm and the rest. */
export function differentialOutputs(layer: AttendedOutputs): Array64 {
  const { Y1_BHSD, Y2_BHSD } = layer;
  return afterwards(differentialMap({ ...layer, A1_BHST: Y1_BHSD, A2_BHST: Y2_BHSD }), layer);
}

/** A1 - mix * lambda * A2, number by number: what a graph output that is the attention map shows. */
export function differentialMap(
  layer: Pick<DuplicateHeads, 'A1_BHST' | 'A2_BHST' | 'lambda' | 'mix'>,
): Array64 {
  const { A1_BHST, A2_BHST, lambda, mix } = layer;
  assertSameShape(A1_BHST.shape, A2_BHST.shape);
  const lambdas = broadcastTo(
    typeof lambda === 'number' ? { shape: [], data: Float64Array.of(lambda) } : lambda,
    [...A1_BHST.shape.slice(0, -1), 1],
  );
  const T = A1_BHST.shape.at(-1) as number;
  const { shape } = A1_BHST;
  const factor = (i: number) => mix * at(lambdas, floor(i / T));
  const data = A1_BHST.data.map((value, i) => value - factor(i) * at(A2_BHST, i));
  const [first, second] = [A1_BHST.slack, A2_BHST.slack];
  if (!first || !second) return { shape, data };
  const slack = first.map((off, i) => off + abs(factor(i)) * (second[i] as number));
  return { shape, data, slack };
}

export interface SplitHeads extends DifferentialParameters {
  /** The maps of all the model's own heads: [..., H, S, T]. */
  readonly A_BHST: Array64;
  /** Values as they are stored, [..., G, T, D] with G a divisor of H; the repeating is done here. */
  readonly V_BGTD: Array64;
  readonly pairing: Pairing;
}

/**
 * Differential attention of the model's own heads in pairs: H/2 heads of width 2D, over which the norm goes.
 * @returns C in the layout of the unsplit heads, [..., H, S, D]: merged head by head it is the row that the H/2 heads of
 *   width 2D give
 */
export function splitDifferentialAttention(layer: SplitHeads): Array64 {
  const H = layer.A_BHST.shape.at(-3) as number;
  const [A1_BHST, A2_BHST] = pairMaps(layer.A_BHST, layer.pairing);
  const V_BHTD = pairValues(layer.V_BGTD, H, layer.pairing);
  return unpair(differentialAttention({ ...layer, A1_BHST, A2_BHST, V_BHTD }));
}
