import { activationProduct, ancestors, dataInputs, isShapeReader } from '../analyse';
import type { Node, Value } from '../ir';
import type { Analysis } from './context';
import { fedInput } from './fed-keys';
import { fail } from './outcome';
import { type ScoreLayout, scoreLayout, type ValueLayout, valueLayout } from './product';
import { isProjection } from './projection';
import { reachProjections } from './side';

/** The two products around a softmax: of queries and keys before it, of probabilities and values behind it. */

export interface ValueProduct {
  readonly product: Node;
  readonly probabilities: Value;
  readonly values: Value;
  readonly layout: ValueLayout;
}

/** Follows the probabilities through guards, casts and layout to the one product with values. */
export function findValueProduct(softmax: Node, { dataflow, shapes }: Analysis): ValueProduct {
  const found: { product: Node; probabilities: Value }[] = [];
  const seen = new Set<Value>();
  const open = softmax.outputs.filter((output) => output !== undefined);
  for (let value = open.pop(); value; value = open.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    for (const { node } of value.uses) {
      if (activationProduct(node, dataflow)) found.push({ product: node, probabilities: value });
      else if (isElementwiseOrLayout(node))
        open.push(...node.outputs.filter((output) => output !== undefined));
    }
  }
  const [first, second] = found;
  if (!first) fail('no-value-product', softmax, 'a product of the probabilities with values', 'none');
  if (second) {
    fail(
      'several-value-products',
      second.product,
      'one product with values',
      found.map((p) => `'${p.product.label}'`).join(', '),
    );
  }
  const layout = valueLayout(first.product, first.probabilities, dataflow, shapes);
  const values = layout && first.product.inputs[layout.valuesIndex];
  if (!layout || !values) {
    const second = first.product.inputs[1] === first.probabilities && !first.product.is('Einsum');
    if (second)
      fail(
        'probabilities-second-operand',
        first.product,
        'probabilities times values',
        'values times probabilities',
      );
    fail('operator-form', first.product, 'a product that sums over keys', first.product.operator);
  }
  return { ...first, values, layout };
}

const THROUGH_PROBABILITIES = new Set([
  'Add',
  'Cast',
  'CastLike',
  'Clip',
  'Concat',
  'DequantizeLinear',
  'Div',
  'Dropout',
  'Expand',
  'Identity',
  'IsNaN',
  'Mul',
  'Not',
  'Pad',
  'QuantizeLinear',
  'Reshape',
  'Slice',
  'Squeeze',
  'Sub',
  'Transpose',
  'Unsqueeze',
  'Where',
]);

function isElementwiseOrLayout(node: Node): boolean {
  return node.domain === '' && THROUGH_PROBABILITIES.has(node.opType);
}

export interface ScoreProduct {
  readonly scores: Node;
  readonly layout: ScoreLayout;
}

/**
 * Of all products of two activations that flow into the softmax, the one whose operands both come from linear layers
 * of data: position terms have an operand that is projected from a constant table.
 */
export function findScoreProduct(
  softmax: Node,
  probabilities: Value,
  { shapes, dataflow }: Analysis,
): ScoreProduct {
  const [input] = softmax.inputs;
  const products: { node: Node; operands: Value[] }[] = [];
  const seen = new Set<Value>();
  const open = input ? [input] : [];
  for (let value = open.pop(); value; value = open.pop()) {
    const node = seen.has(value) ? undefined : value.producer;
    seen.add(value);
    if (!node || isProjection(node, dataflow, shapes)) continue;
    const pair = activationProduct(node, dataflow);
    if (pair) products.push({ node, operands: [pair.left, pair.right] });
    else if (dataflow.dependsOnData(value)) open.push(...dataInputs(node));
  }
  const isLayer = (operand: Value) => reachProjections(operand, dataflow, shapes).projections.length > 0;
  const both = products.filter(({ operands }) => operands.every(isLayer));
  // Keys of another run stand in for a linear layer where no product has two of them.
  const hasFedKeys = (node: Node) => {
    const { inputs } = node;
    const found = scoreLayout(node, shapes);
    const [query, key] = found ? [inputs[found.queryIndex], inputs[found.keyIndex]] : [];
    return query && key && isLayer(query) && !isLayer(key) && fedInput(key, dataflow) !== undefined;
  };
  const projected = both.length > 0 ? both : products.filter(({ node }) => hasFedKeys(node));
  const [only, second] = projected;
  if (!only) {
    const seenNodes = products.map(({ node }) => `'${node.label}'`).join(', ') || 'no product';
    fail('no-score-product', softmax, 'a product of two values that come from linear layers', seenNodes);
  }
  if (second) {
    fail(
      'several-score-products',
      softmax,
      'one product of queries and keys',
      projected.map(({ node }) => `'${node.label}'`).join(', '),
    );
  }
  const scores = only.node;
  const layout = scoreLayout(scores, shapes);
  if (!layout)
    fail('operator-form', scores, 'a product of known rank that sums over the head width', scores.operator);
  if (probabilities.scope !== scores.graph)
    fail('control-flow', scores, 'scores in the scope of the softmax', scores.graph.label);
  return { scores, layout };
}

/** What stands between the softmax and the final probabilities must not be seen by anyone else. */
export function refuseEscapes(softmax: Node, probabilities: Value): void {
  const chain = new Set(ancestors(probabilities, new Set(softmax.inputs.flatMap((input) => input ?? []))));
  for (const node of chain) {
    for (const value of node.outputs) {
      if (!value || value === probabilities || !comesFrom(value, softmax)) continue;
      const reader = value.readers.find((each) => !chain.has(each) && !isShapeReader(each));
      if (reader || value.isOutput) {
        const who = reader ? `'${reader.label}' reads it` : 'it is an output of the graph';
        fail('probabilities-escape', node, `'${value.name}' to be read by this attention alone`, who);
      }
    }
  }
}

function comesFrom(value: Value, softmax: Node): boolean {
  const nodes = new Set(ancestors(value, new Set(softmax.inputs.flatMap((input) => input ?? []))));
  return nodes.has(softmax);
}
