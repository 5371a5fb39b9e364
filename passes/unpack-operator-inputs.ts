import { Shapes } from '../src/analyse';
import type { Node, Value } from '../src/ir';
import { attribute } from '../src/rewrite/attributes';
import { Builder } from '../src/rewrite/builder';
import type { Peel } from '../src/rewrite/prepare';

/**
 * Attention operators of ONNX Runtime that take queries, keys and values as one tensor, as its ContribOperators.md
 * documents them, get them as three.
 *
 * - GroupQueryAttention: query [B, S, (heads + 2 kv heads) * width], key and value left out
 * - MultiHeadAttention: query [B, S, heads, 3, width], or key [B, T, heads, 2, width] beside a query of its own
 */
export const unpackOperatorInputs: Peel = {
  name: 'unpack-operator-inputs',
  apply(model) {
    const packed = [...model.graph.scopes()].flatMap(({ nodes }) => nodes.filter(mayBePacked));
    if (packed.length === 0) return [];
    const shapes = new Shapes(model);
    return packed.flatMap((node) => (unpack(node, shapes) ? [node.label] : []));
  },
};

function mayBePacked(node: Node): boolean {
  const [query, , values] = node.inputs;
  const known = node.isFrom('com.microsoft', 'GroupQueryAttention', 'MultiHeadAttention');
  return known && query !== undefined && values === undefined;
}

/** False where it is not packed, or nobody knows how wide a head is. */
function unpack(node: Node, shapes: Shapes): boolean {
  const [query, key] = node.inputs;
  const builder = new Builder(node.graph, node, node.label);
  let parts: Value[] | undefined;
  if (node.opType === 'GroupQueryAttention') {
    if (query && !key) parts = headColumns(node, query, shapes, builder);
  } else {
    const source = key ?? query;
    if (source && shapes.shape(source)?.length === 5) parts = stacked(source, key ? 2 : 3, builder);
  }
  if (!parts) return false;
  const first = parts.length === 3 ? 0 : 1;
  parts.forEach((part, index) => {
    node.graph.setInput(node, first + index, part);
  });
  return true;
}

/** [B, S, heads * width] in three: the heads of queries, of keys and of values, one behind the other. */
function headColumns(node: Node, packed: Value, shapes: Shapes, builder: Builder): Value[] | undefined {
  const counts = ['num_heads', 'kv_num_heads', 'kv_num_heads'].map((name) => node.int(name) ?? 0);
  const all = counts.reduce((sum, count) => sum + count, 0);
  const columns = shapes.shape(packed)?.at(-1)?.value;
  if (columns === undefined || all === 0 || columns % all !== 0) return undefined;
  const sizes = counts.map((count) => (count * columns) / all);
  return splitOff(packed, sizes, -1, builder);
}

/** [B, S, heads, parts, width] as parts of [B, S, heads * width]. */
function stacked(packed: Value, parts: number, builder: Builder): Value[] {
  const each = splitOff(packed, Array(parts).fill(1), 3, builder);
  return each.map((part) => builder.op('Reshape', [part, builder.ints([0, 0, -1])]));
}

function splitOff(packed: Value, sizes: readonly number[], axis: number, builder: Builder): Value[] {
  return builder.ops('Split', [packed, builder.ints(sizes)], {
    attributes: [attribute.int('axis', axis)],
    outputs: sizes.length,
    name: 'unpacked',
  });
}
