import type { Node } from '../../ir';
import { type Array64, at, broadcastTo } from './array';
import { scores, softmax } from './attention';
import { repeatHeads } from './heads';

/**
 * The attention maps inside the standard operator `Attention` (ONNX operator documentation, opset 23), for inputs of
 * rank 4: scores = Q K^T * scale, softcap * tanh(scores / softcap), mask, softmax. A boolean mask removes keys where it
 * is false, any other is added; `is_causal` removes keys behind the query.
 */
export function attentionOperatorMaps(
  node: Node,
  get: (name: string) => Array64,
): { A: Array64; V: Array64 } {
  const [query, key, values, mask] = node.inputs.map((input) => input && get(input.name));
  if (!query || !key || !values) throw new Error(`${node.label}: an input is missing`);
  const heads = query.shape[1] ?? 1;
  const scale = node.float('scale') ?? 1 / Math.sqrt(query.shape[3] ?? 1);
  const K = repeatHeads(key, heads);
  let map = scores(query, K, scale);
  const cap = node.float('softcap') ?? 0;
  if (cap > 0) map = { shape: map.shape, data: map.data.map((x) => cap * Math.tanh(x / cap)) };
  if (mask) map = masked(map, mask, isBoolean(mask));
  if (node.int('is_causal') === 1) map = causal(map);
  return { A: softmax(map), V: values };
}

/** A boolean mask arrives as zeros and ones; an additive one has other numbers, or only zeros. */
function isBoolean(mask: Array64): boolean {
  return mask.data.every((x) => x === 0 || x === 1) && mask.data.some((x) => x === 1);
}

function masked(map: Array64, mask: Array64, boolean: boolean): Array64 {
  const spread = broadcastTo(mask, map.shape);
  return {
    shape: map.shape,
    data: map.data.map((x, i) =>
      boolean ? (at(spread, i) ? x : Number.NEGATIVE_INFINITY) : x + at(spread, i),
    ),
  };
}

function causal(map: Array64): Array64 {
  const [S, T] = map.shape.slice(-2) as [number, number];
  return {
    shape: map.shape,
    data: map.data.map((x, i) => (i % T > Math.floor(i / T) % S ? Number.NEGATIVE_INFINITY : x)),
  };
}
