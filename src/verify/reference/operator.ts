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
  isBoolean: (name: string) => boolean,
): { A: Array64; V: Array64 } {
  const [query, key, values, mask] = node.inputs.map((input) => input && get(input.name));
  const keeps = node.inputs[3] !== undefined && isBoolean(node.inputs[3].name);
  if (!query || !key || !values) throw new Error(`${node.label}: an input is missing`);
  const heads = query.shape[1] ?? 1;
  const scale = node.float('scale') ?? 1 / Math.sqrt(query.shape[3] ?? 1);
  const K = repeatHeads(key, heads);
  let map = scores(query, K, scale);
  const cap = node.float('softcap') ?? 0;
  if (cap > 0) map = { shape: map.shape, data: map.data.map((x) => cap * Math.tanh(x / cap)) };
  if (mask) map = masked(map, mask, keeps);
  if (node.int('is_causal') === 1) map = causal(map);
  return { A: softmaxOfSeen(map), V: values };
}

/** Softmax in which a query that may see no key at all attends to nothing, as the operator defines it. */
function softmaxOfSeen(map: Array64): Array64 {
  const T = map.shape.at(-1) ?? 1;
  const maps = softmax(map);
  const data = maps.data.map((x, i) => {
    const row = i - (i % T);
    const unseen = map.data.subarray(row, row + T).every((score) => score === Number.NEGATIVE_INFINITY);
    return unseen ? 0 : x;
  });
  return { shape: maps.shape, data };
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
