import { presetOf } from '../attention/presets';
import type { LayerUnderTest } from './layer-reference';
import {
  type Array64,
  copiesInPairs,
  crossProducts,
  type DifferentialParameters,
  differentialOutputs,
  type Pairing,
  pairMaps,
  permute,
  type Rounding,
  splitDifferentialAttention,
  storedHeads,
  unpair,
} from './reference';
import { attentionOperatorMaps } from './reference/operator';

/**
 * Split mode in float64: from the maps and values of the model's own attention to what stands in the place of its
 * output, pairing of heads and layout included.
 * @throws Error where values do not fit together
 */
export function splitReference(
  { site, layer, options, calls, probabilities }: LayerUnderTest,
  parameters: DifferentialParameters,
  get: (name: string) => Array64,
  isBoolean: (name: string) => boolean,
  rounding: Rounding | undefined,
): Array64 {
  const { core } = site;
  const { pairing } = presetOf(options);
  if (calls) return fromCalls(get(calls.own), get(calls.exchanged), layer, pairing, parameters);
  const own =
    core.kind === 'written-out'
      ? arranged(get(probabilities ?? core.probabilities.name), get(core.values.name), core.arrangement)
      : attentionOperatorMaps(core.node, get, isBoolean, rounding);
  const A = headed(own.A, layer.heads);
  const V = own.V.shape.length === A.shape.length ? own.V : headed(own.V, headsIn(own.V, A));
  const stored = storedHeads(V, layer.kvHeads);
  const copies = stored === V && layer.heads > layer.kvHeads && V.shape.at(-3) === layer.heads;
  const V_BGTD = copies && pairing === 'adjacent' ? copiesInPairs(V, layer.kvHeads) : stored;
  const C = splitDifferentialAttention({ ...parameters, A_BHST: A, V_BGTD, pairing });
  const restored =
    own.A.shape.length === A.shape.length
      ? C
      : { ...C, shape: [...own.A.shape.slice(0, -1), layer.valueWidth] };
  return core.kind === 'written-out' && core.arrangement
    ? permute(restored, core.arrangement.output)
    : restored;
}

/** The maps of the two components. */
export function splitMaps(
  { site, layer, options, probabilities }: LayerUnderTest,
  get: (name: string) => Array64,
): [positive: Array64, negative: Array64] {
  const { core } = site;
  if (core.kind !== 'written-out') throw new Error('a fused operator shows no maps');
  const own = get(probabilities ?? core.probabilities.name);
  const A = core.arrangement ? permute(own, core.arrangement.probabilities) : own;
  return pairMaps(headed(A, layer.heads), presetOf(options).pairing);
}

/** Both maps of each pair times both value heads, from calls with the values as they are and exchanged. */
function fromCalls(
  own: Array64,
  exchanged: Array64,
  { heads, kvHeads, valueWidth }: LayerUnderTest['layer'],
  pairing: Pairing,
  parameters: DifferentialParameters,
): Array64 {
  const isMerged = own.shape.length === 3;
  const headsFirst = ({ shape, data }: Array64): Array64 =>
    isMerged
      ? permute({ shape: [...shape.slice(0, 2), heads, valueWidth], data }, [0, 2, 1, 3])
      : { shape, data };
  const products = crossProducts(headsFirst(own), headsFirst(exchanged), kvHeads, pairing);
  const C = unpair(differentialOutputs({ ...parameters, ...products }));
  return isMerged ? { shape: own.shape, data: permute(C, [0, 2, 1, 3]).data } : C;
}

interface Arrangement {
  readonly probabilities: readonly number[];
  readonly values: readonly number[];
  readonly valuesUnsqueeze: readonly number[];
}

/** Operands of an Einsum as [.., S, T] and [.., T, D]. */
function arranged(A: Array64, V: Array64, arrangement: Arrangement | undefined): { A: Array64; V: Array64 } {
  if (!arrangement) return { A, V };
  const moved = permute(V, arrangement.values);
  const shape = [...moved.shape];
  for (const axis of arrangement.valuesUnsqueeze) shape.splice(axis, 0, 1);
  return { A: permute(A, arrangement.probabilities), V: { shape, data: moved.data } };
}

/** Heads that values have in each row of the batch of maps [batch, heads, S, T]: all of them, or those that are stored. */
function headsIn({ shape }: Array64, A_BHST: Array64): number {
  return shape.slice(0, -2).reduce((all, size) => all * size, 1) / (A_BHST.shape[0] ?? 1);
}

/** [batch * heads, ..] as [batch, heads, ..]; grouped heads as one axis. */
function headed(x: Array64, heads: number): Array64 {
  if (x.shape.length === 4) return x;
  const tail = x.shape.slice(-2);
  const rest = x.shape.slice(0, -2).reduce((all, size) => all * size, 1);
  return { ...x, shape: [rest / heads, heads, ...tail] };
}
