import {
  type Atom,
  activationProduct,
  ancestors,
  dataInputs,
  followViews,
  isDequantize,
  isQuantize,
  isShapeReader,
  productsAheadOfMixes,
  productsBehindMixes,
  type Shapes,
  type SoftmaxForm,
  type View,
} from '../analyse';
import type { Node, Value } from '../ir';
import type { Analysis } from './context';
import { fedInput } from './fed-keys';
import { fail } from './outcome';
import { type ScoreLayout, scoreLayouts, type ValueLayout, valueLayout } from './product';
import { isProjection } from './projection';
import { reachProjections } from './reach';

/** The two products around a softmax: of queries and keys before it, of probabilities and values behind it. */

export interface ValueProduct {
  readonly product: Node;
  readonly probabilities: Value;
  readonly values: Value;
  readonly layout: ValueLayout;
}

/** Follows the probabilities through guards, casts and layout to the one product with values. */
export function findValueProduct(
  { node: softmax }: SoftmaxForm,
  { dataflow, shapes }: Analysis,
): ValueProduct {
  let found: { product: Node; probabilities: Value }[] = [];
  const seen = new Set<Value>();
  const open = softmax.outputs.filter((output) => output !== undefined);
  const [start] = open;
  for (let value = open.pop(); value; value = open.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    for (const { node } of value.uses) {
      if (activationProduct(node, dataflow)) found.push({ product: node, probabilities: value });
      else if (isElementwiseOrLayout(node))
        open.push(...node.outputs.filter((output) => output !== undefined));
    }
  }
  if (found.length === 0 && start) {
    const mixed = productsAheadOfMixes(start, dataflow, shapes);
    found = mixed.map(({ product, operand }) => ({ product, probabilities: operand }));
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
  'Div',
  'Dropout',
  'Expand',
  'Identity',
  'IsNaN',
  'Mul',
  'Not',
  'Pad',
  'Reshape',
  'Slice',
  'Squeeze',
  'Sub',
  'Transpose',
  'Unsqueeze',
  'Where',
]);

function isElementwiseOrLayout(node: Node): boolean {
  const standard = node.domain === '' && THROUGH_PROBABILITIES.has(node.opType);
  return standard || isQuantize(node) || isDequantize(node);
}

export interface ScoreProduct {
  readonly scores: Node;
  readonly layout: ScoreLayout;
}

/**
 * Of all products of two activations that flow into the softmax, the one whose operands both come from linear layers
 * of data: position terms have an operand that is projected from a constant table. Which operand holds the keys, the
 * product with values says: it sums over them.
 */
export function findScoreProduct(
  { node: softmax, input }: SoftmaxForm,
  { probabilities, layout: summing }: ValueProduct,
  { shapes, dataflow }: Analysis,
): ScoreProduct {
  const products: { node: Node; operands: Value[] }[] = [];
  const seen = new Set<Value>();
  const open = [input];
  for (let value = open.pop(); value; value = open.pop()) {
    const node = seen.has(value) ? undefined : value.producer;
    seen.add(value);
    if (!node || isProjection(node, dataflow, shapes)) continue;
    const pair = activationProduct(node, dataflow);
    if (pair) products.push({ node, operands: [pair.left, pair.right] });
    else if (dataflow.dependsOnData(value)) open.push(...dataInputs(node));
  }
  const layoutOf = (node: Node) => {
    const layouts = scoreLayouts(node, shapes);
    const arrives = layouts.map(({ keyAxis }) =>
      arrivesAt(node, keyAxis, probabilities, summing.keyAxis, shapes),
    );
    // An axis that was lost on the way may have arrived; one that arrived elsewhere has not.
    const best = [true, undefined, false].map((verdict) => arrives.indexOf(verdict)).find((at) => at >= 0);
    return layouts[best ?? 0];
  };
  const isLayer = (operand: Value) => reachProjections(operand, dataflow, shapes).projections.length > 0;
  const both = products.filter(({ operands }) => operands.every(isLayer));
  // Keys of another run stand in for a linear layer where no product has two of them.
  const hasFedKeys = (node: Node) => {
    const { inputs } = node;
    const found = layoutOf(node);
    const [query, key] = found ? [inputs[found.queryIndex], inputs[found.keyIndex]] : [];
    return query && key && isLayer(query) && !isLayer(key) && fedInput(key, dataflow) !== undefined;
  };
  const fed = both.length > 0 ? [] : products.filter(({ node }) => hasFedKeys(node));
  const behindMixes = () =>
    productsBehindMixes(input, dataflow, shapes).map((node) => ({ node, operands: [] }));
  const projected = both.length > 0 ? both : fed.length > 0 ? fed : behindMixes();
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
  if (probabilities.scope !== scores.graph)
    fail('control-flow', scores, 'scores in the scope of the softmax', scores.graph.label);
  const layout = layoutOf(scores);
  if (!layout)
    fail('operator-form', scores, 'a product of known rank that sums over the head width', scores.operator);
  return { scores, layout };
}

/** True if what runs along an axis of the scores runs along that axis behind them; undefined where that is lost. */
export function arrivesAt(
  scores: Node,
  from: number,
  target: Value,
  to: number,
  shapes: Shapes,
): boolean | undefined {
  const output = scores.outputs[0];
  const shape = shapes.shape(output);
  if (!output || !shape) return undefined;
  const marked: View = {
    offset: 0,
    axes: shape.map((size, axis): Atom[] =>
      axis === from ? [{ kind: 'column', size, stride: 1 }] : [{ kind: 'lead', size, order: [axis] }],
    ),
  };
  const views = followViews(shapes, new Map([[output, marked]]), ancestors(target, new Set([output])));
  const arrived = views.get(target);
  if (!arrived || 'node' in arrived) return undefined;
  return arrived.axes[to]?.some(({ kind }) => kind === 'column') === true;
}

/** What stands between the softmax and the final probabilities must not be seen by anyone else. */
export function refuseEscapes({ node: softmax, input }: SoftmaxForm, probabilities: Value): void {
  const chain = new Set(ancestors(probabilities, new Set([input])));
  for (const node of chain) {
    for (const value of node.outputs) {
      if (!value || value === probabilities || !comesFrom(value, softmax, input)) continue;
      const reader = value.readers.find((each) => !chain.has(each) && !isShapeReader(each));
      if (reader || value.isOutput) {
        const who = reader ? `'${reader.label}' reads it` : 'it is an output of the graph';
        fail('probabilities-escape', node, `'${value.name}' to be read by this attention alone`, who);
      }
    }
  }
}

function comesFrom(value: Value, softmax: Node, input: Value): boolean {
  const nodes = new Set(ancestors(value, new Set([input])));
  return nodes.has(softmax);
}
