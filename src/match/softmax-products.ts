import {
  type Atom,
  activationProduct,
  ancestors,
  dataInputs,
  descendants,
  followViews,
  inOrder,
  isDequantize,
  isQuantize,
  isShapeReader,
  productsAheadOfMixes,
  productsBehindMixes,
  type Shapes,
  type SoftmaxForm,
  type View,
} from '../analyse';
import { type Node, pushAll, type Value } from '../ir';
import type { Analysis } from './context';
import { fedInput } from './fed-keys';
import { type JoinedProducts, joinedProducts } from './joined-products';
import { attempt, fail, refuse } from './outcome';
import { type ScoreLayout, scoreLayouts, type ValueLayout, valueLayout } from './product';
import { isProjection } from './projection';
import { isResidualStream, reachProjections } from './reach';

/** The two products around a softmax: of queries and keys before it, of probabilities and values behind it. */

export interface ValueProduct {
  readonly product: Node;
  readonly probabilities: Value;
  readonly values: Value;
  readonly layout: ValueLayout;
}

/** Follows the probabilities through guards, casts and layout to the one product with values. */
function findValueProduct({ node: softmax }: SoftmaxForm, analysis: Analysis): ValueProduct {
  const { dataflow, shapes } = analysis;
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
        pushAll(
          open,
          node.outputs.filter((output) => output !== undefined),
        );
    }
  }
  analysis.spend(seen.size, softmax);
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
  return describeProduct(first.product, first.probabilities, analysis);
}

function describeProduct(product: Node, probabilities: Value, { dataflow, shapes }: Analysis): ValueProduct {
  const layout = valueLayout(product, probabilities, dataflow, shapes);
  const values = layout && product.inputs[layout.valuesIndex];
  if (!layout || !values) {
    fail('operator-form', product, 'a product that sums over keys', product.operator);
  }
  return { product, probabilities, values, layout };
}

/** A product with values, and where it is put together with what the map weighs beside them. */
export interface WeighedValues extends ValueProduct {
  readonly joined: (JoinedProducts & { readonly aligned: boolean }) | undefined;
  /** All that is weighed, before any of it is cut off. */
  readonly map: Value;
}

/**
 * The product with values; where the map weighs several things, the first of them, and the value in which all of them
 * are put together.
 */
export function findWeighedValues(form: SoftmaxForm, analysis: Analysis): WeighedValues {
  const single = attempt(() => {
    const end = findValueProduct(form, analysis);
    refuseEscapes(form, end.probabilities, analysis);
    return { ...end, map: end.probabilities, joined: undefined };
  });
  const [map] = form.node.outputs;
  if (single.matched && isReadOnce(single.value)) return single.value;
  const joined = map && findJoinedValues(map, analysis);
  return joined ?? (single.matched ? single.value : refuse(single.reason));
}

function isReadOnce({ product, probabilities }: ValueProduct): boolean {
  return probabilities.readers.every((reader) => reader === product || isShapeReader(reader));
}

/** The value in which all that a map weighs is put together, if its last axis is the width of the values. */
function findJoinedValues(map: Value, analysis: Analysis): WeighedValues | undefined {
  const { shapes } = analysis;
  const joined = joinedProducts(map, analysis.dataflow, shapes);
  const [first] = joined?.products ?? [];
  if (!joined || !first) return undefined;
  const end = describeProduct(first.product, first.probabilities, analysis);
  const { product, layout } = end;
  const rank = shapes.shape(joined.output)?.length;
  const width = outputAxis(product, layout, shapes);
  const arrives = (from: number, to: number) => arrivesAt(product, from, joined.output, to, shapes) === true;
  if (rank === undefined || width === undefined || !arrives(width, rank - 1)) return undefined;
  const [size, joinedSize] = [shapes.shape(product.outputs[0])?.[width], shapes.shape(joined.output)?.at(-1)];
  if (!size || !joinedSize?.equals(size)) return undefined;
  const own = Array.from({ length: width }, (_, axis) => axis);
  const aligned = !layout.arrangement && width === rank - 1 && own.every((axis) => arrives(axis, axis));
  return { ...end, map, joined: { ...joined, aligned } };
}

/** The axis of the product on which the width of the values stands. */
function outputAxis(product: Node, { arrangement }: ValueLayout, shapes: Shapes): number | undefined {
  if (arrangement) return arrangement.output.indexOf(arrangement.output.length - 1);
  const rank = shapes.shape(product.outputs[0])?.length;
  return rank === undefined ? undefined : rank - 1;
}

const THROUGH_PROBABILITIES = new Set([
  'Abs',
  'Add',
  'Cast',
  'CastLike',
  'Clip',
  'Concat',
  'Div',
  'Dropout',
  'Expand',
  'Gather',
  'GatherElements',
  'GatherND',
  'Identity',
  'IsNaN',
  'Max',
  'Mean',
  'Min',
  'Mul',
  'Neg',
  'Not',
  'Pad',
  'Pow',
  'Reciprocal',
  'ReduceMean',
  'ReduceSum',
  'Relu',
  'Reshape',
  'ScatterElements',
  'ScatterND',
  'Slice',
  'Split',
  'Sqrt',
  'Squeeze',
  'Sub',
  'Sum',
  'Tile',
  'Transpose',
  'Trilu',
  'Unsqueeze',
  'Where',
]);

function isElementwiseOrLayout(node: Node): boolean {
  const standard = node.domain === '' && THROUGH_PROBABILITIES.has(node.opType);
  return standard || isQuantize(node) || isDequantize(node);
}

/** What it takes to follow axes through a value, beside just looking at it. */
const LAYOUT_COST = 8;

export interface ScoreProduct {
  readonly scores: Node;
  readonly layout: ScoreLayout;
}

/**
 * Of all products of two activations that flow into the softmax, those whose operands both come from linear layers
 * of data: position terms have an operand that is projected from a constant table. Several of them are scores together:
 * parts of the width that are added, or keys of several kinds behind one another. Which operand holds the keys, the
 * product with values says: it sums over them.
 */
export function findScoreProducts(
  { node: softmax, input }: SoftmaxForm,
  { probabilities, layout: summing }: ValueProduct,
  analysis: Analysis,
): [ScoreProduct, ...ScoreProduct[]] {
  const { shapes, dataflow } = analysis;
  const products: { node: Node; operands: Value[] }[] = [];
  const seen = new Set<Value>();
  const open = [input];
  for (let value = open.pop(); value; value = open.pop()) {
    const node = seen.has(value) ? undefined : value.producer;
    seen.add(value);
    if (!node || isProjection(node, dataflow, shapes)) continue;
    const pair = activationProduct(node, dataflow);
    if (pair) products.push({ node, operands: [pair.left, pair.right] });
    else if (dataflow.dependsOnData(value)) pushAll(open, dataInputs(node));
  }
  analysis.spend(seen.size, softmax);
  const layoutOf = (node: Node) => {
    analysis.spend(LAYOUT_COST * seen.size, softmax);
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
    if (!inputs.some((input) => input && isLayer(input))) return false;
    const found = layoutOf(node);
    const [query, key] = found ? [inputs[found.queryIndex], inputs[found.keyIndex]] : [];
    return query && key && isLayer(query) && !isLayer(key) && fedInput(key, dataflow) !== undefined;
  };
  const fed = both.length > 0 ? [] : products.filter(({ node }) => hasFedKeys(node));
  const behindMixes = () =>
    productsBehindMixes(input, dataflow, shapes).map((node) => ({ node, operands: [] }));
  const projected = both.length > 0 ? both : fed.length > 0 ? fed : behindMixes();
  const isStream = (operand: Value) => isResidualStream(operand, dataflow, shapes);
  // A product of what layers read with itself, such as distances of tokens, beside one of queries and keys.
  const own = projected.length > 1 ? projected.filter(({ operands }) => !operands.some(isStream)) : projected;
  const elsewhere = projected.find(({ node }) => node.graph !== probabilities.scope)?.node;
  if (elsewhere) fail('control-flow', elsewhere, 'scores in the scope of the softmax', elsewhere.graph.label);
  const chosen = new Set((own.length > 0 ? own : projected).map(({ node }) => node));
  const [first, ...others] = inOrder(probabilities.scope, chosen).map((scores) => {
    const layout = layoutOf(scores);
    if (!layout)
      fail('operator-form', scores, 'a product of known rank that sums over the head width', scores.operator);
    return { scores, layout };
  });
  if (!first) {
    const seenNodes = products.map(({ node }) => `'${node.label}'`).join(', ') || 'no product';
    fail('no-score-product', softmax, 'a product of two values that come from linear layers', seenNodes);
  }
  if (fed.length > 1) {
    const found = fed.map(({ node }) => `'${node.label}'`).join(', ');
    fail('several-score-products', softmax, 'one product of queries and keys that are fed', found);
  }
  return [first, ...others];
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
function refuseEscapes(
  { node: softmax, input }: SoftmaxForm,
  probabilities: Value,
  analysis: Analysis,
): void {
  const nodes = ancestors(probabilities, new Set([input]));
  analysis.spend(nodes.length, softmax);
  const chain = new Set(nodes);
  const given = softmax.outputs.flatMap((output) => output ?? []);
  for (const node of [softmax, ...descendants(given, nodes)]) {
    for (const value of node.outputs) {
      if (!value || value === probabilities || value === input) continue;
      const reader = value.readers.find((each) => !chain.has(each) && !isShapeReader(each));
      if (reader || value.isOutput) {
        const who = reader ? `'${reader.label}' reads it` : 'it is an output of the graph';
        fail('probabilities-escape', node, `'${value.name}' to be read by this attention alone`, who);
      }
    }
  }
}
