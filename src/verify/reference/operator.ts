import type { Node } from '../../ir';
import { type Array64, at, broadcastTo } from './array';
import { added, products, softmax } from './attention';
import { repeatHeads } from './heads';
import type { Rounding } from './rounding';

/**
 * The attention maps inside the standard operator `Attention` (ONNX operator documentation, opset 23), for inputs of
 * rank 4: scores = Q K^T * scale, softcap * tanh(scores / softcap), mask, softmax. A boolean mask removes keys where it
 * is false, any other is added; `is_causal` removes keys behind the query.
 */
export function attentionOperatorMaps(
  node: Node,
  get: (name: string) => Array64,
  isBoolean: (name: string) => boolean,
  rounding?: Rounding,
): { A: Array64; V: Array64 } {
  const [query, key, values, mask] = node.inputs.map((input) => input && get(input.name));
  const keeps = node.inputs[3] !== undefined && isBoolean(node.inputs[3].name);
  if (!query || !key || !values) throw new Error(`${node.label}: an input is missing`);
  const heads = query.shape[1] ?? 1;
  const scale = node.float('scale') ?? 1 / Math.sqrt(query.shape[3] ?? 1);
  const K = repeatHeads(key, heads);
  const adds = mask !== undefined && !keeps;
  let map = products(query, K, scale, adds ? rounding : undefined);
  const cap = node.float('softcap') ?? 0;
  // The slope of tanh is 1 at most, so that slack stays.
  if (cap > 0) map = { ...map, data: map.data.map((x) => cap * Math.tanh(x / cap)) };
  if (mask) map = keeps ? masked(map, mask) : added(map, mask, rounding);
  if (node.int('is_causal') === 1) map = causal(map);
  return { A: softmaxOfSeen(map, rounding), V: values };
}

/** Softmax in which a query that may see no key at all attends to nothing, as the operator defines it. */
function softmaxOfSeen(map: Array64, rounding: Rounding | undefined): Array64 {
  const T = map.shape.at(-1) ?? 1;
  const maps = softmax(map, rounding);
  const data = maps.data.map((x, i) => {
    const row = i - (i % T);
    const unseen = map.data.subarray(row, row + T).every((score) => score === Number.NEGATIVE_INFINITY);
    return unseen ? 0 : x;
  });
  return { ...maps, data };
}

function masked(map: Array64, mask: Array64): Array64 {
  const spread = broadcastTo(mask, map.shape);
  return { ...map, data: map.data.map((x, i) => (at(spread, i) ? x : Number.NEGATIVE_INFINITY)) };
}

function causal(map: Array64): Array64 {
  const [S, T] = map.shape.slice(-2) as [number, number];
  return {
    ...map,
    data: map.data.map((x, i) => (i % T > Math.floor(i / T) % S ? Number.NEGATIVE_INFINITY : x)),
  };
}
