import {
  activationProduct,
  ancestors,
  constantTensor,
  dataInputs,
  followViews,
  isShapeReader,
  type Shapes,
  smallConstant,
  type View,
} from '../src/analyse';
import type { Recogniser } from '../src/attention/recogniser';
import type { AttentionSite, PlainScores, WrittenOutCore } from '../src/attention/site';
import { describeTraits } from '../src/attention/traits';
import type { Node, Value } from '../src/ir';
import type { Analysis } from '../src/match/context';
import { fail } from '../src/match/outcome';
import {
  type ScoreLayout,
  scoreLayout,
  scoreView,
  type ValueLayout,
  valueLayout,
} from '../src/match/product';
import { isProjection, projectionType } from '../src/match/projection';
import { reachProjections, type TracedSide, traceSide } from '../src/match/side';

/**
 * Attention written out in operators: a product of queries and keys, anything elementwise, a Softmax over keys,
 * anything elementwise, a product with values. Exporters differ in everything else.
 */
export const softmaxAttention: Recogniser = {
  name: 'softmax-attention',
  accepts: ({ kind }) => kind === 'softmax',
  recognise: ({ anchor }, analysis) => recognise(anchor, analysis),
};

function recognise(softmax: Node, analysis: Analysis): AttentionSite {
  const { shapes } = analysis;
  const [input] = softmax.inputs;
  const rank = shapes.shape(input)?.length;
  const axis = softmax.int('axis') ?? -1;
  if (!input || (axis !== -1 && axis + 1 !== rank)) {
    fail(
      'softmax-axis',
      softmax,
      'a softmax over the last axis',
      `axis ${axis} of ${rank ?? 'an unknown number of'} axes`,
    );
  }
  const { product, probabilities, values, layout } = findValueProduct(softmax, analysis);
  const { scores, layout: scoring } = findScoreProduct(softmax, probabilities, analysis);
  const { queryIndex, keyIndex } = scoring;
  refuseEscapes(softmax, probabilities);
  const query = traceOperand(scores, queryIndex, scoring.queryWidth, softmax, analysis);
  const key = traceOperand(scores, keyIndex, scoring.keyWidth, softmax, analysis);
  if (query.heads % key.heads !== 0 || query.width !== key.width) {
    fail(
      'heads-do-not-divide',
      scores,
      'query heads that are a multiple of the key heads, of one width',
      `${query.heads} heads of width ${query.width}, ${key.heads} key heads of width ${key.width}`,
    );
  }
  const output = product.outputs[0];
  const widthAxis = layout.arrangement?.values.at(-1);
  const valueShape = shapes.shape(values);
  const valueWidth = (widthAxis === undefined ? valueShape?.at(-1) : valueShape?.[widthAxis])?.value;
  if (!output || valueWidth === undefined) {
    fail('heads-unknown', product, 'values of known width', 'a width that is no number');
  }
  const core: WrittenOutCore = {
    kind: 'written-out',
    scores,
    queryIndex,
    keyIndex,
    softmax,
    product,
    probabilities,
    readers: [...probabilities.uses],
    values,
    output,
    arrangement: layout.arrangement,
    probabilitiesView: arranged(followScores(scores, scoring, query, probabilities, shapes), layout),
    plain: layout.arrangement ? undefined : plainScores(scores, softmax, probabilities, shapes),
  };
  return {
    anchor: softmax,
    recogniser: softmaxAttention.name,
    scope: softmax.graph,
    query,
    key,
    core,
    heads: query.heads,
    kvHeads: key.heads,
    headWidth: query.width,
    valueWidth,
    dataType: elementType(query),
    traits: describeTraits({ scores, softmax, query, key, plain: core.plain }, analysis),
  };
}

/** The element type of a projection's weight stands for that of the attention. */
function elementType(side: TracedSide): number {
  return projectionType(side.projection);
}

interface ValueProduct {
  readonly product: Node;
  readonly probabilities: Value;
  readonly values: Value;
  readonly layout: ValueLayout;
}

/** Follows the probabilities through guards, casts and layout to the one product with values. */
function findValueProduct(softmax: Node, { dataflow, shapes }: Analysis): ValueProduct {
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

interface ScoreProduct {
  readonly scores: Node;
  readonly layout: ScoreLayout;
}

/**
 * Of all products of two activations that flow into the softmax, the one whose operands both come from linear layers
 * of data: position terms have an operand that is projected from a constant table.
 */
function findScoreProduct(softmax: Node, probabilities: Value, { shapes, dataflow }: Analysis): ScoreProduct {
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
  const projected = products.filter(({ operands }) =>
    operands.every((operand) => reachProjections(operand, dataflow, shapes).projections.length > 0),
  );
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

function traceOperand(
  scores: Node,
  index: number,
  widthAxis: number,
  softmax: Node,
  { shapes, dataflow }: Analysis,
): TracedSide {
  const operand = scores.inputs[index];
  const rank = shapes.shape(operand)?.length;
  if (!operand || rank === undefined || rank < 3) {
    fail(
      'heads-unknown',
      scores,
      'operands with at least three axes',
      `${rank ?? 'an unknown number of'} axes`,
    );
  }
  return traceSide(operand, widthAxis, undefined, softmax, dataflow, shapes);
}

/** What stands between the softmax and the final probabilities must not be seen by anyone else. */
function refuseEscapes(softmax: Node, probabilities: Value): void {
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

/** The layout of the probabilities in terms of the columns of the queries. */
function followScores(
  scores: Node,
  layout: ScoreLayout,
  query: TracedSide,
  probabilities: Value,
  shapes: Shapes,
): View {
  const output = scores.outputs[0];
  const shape = shapes.shape(output);
  if (!output || !shape) fail('layout-lost', scores, 'scores of known rank', 'an unknown rank');
  const start = scoreView(layout, query.operandView, shape);
  const stop = new Set([output]);
  const view = followViews(shapes, new Map([[output, start]]), ancestors(probabilities, stop)).get(
    probabilities,
  );
  if (!view) fail('layout-lost', scores, 'probabilities that come from the scores', 'no path');
  if ('node' in view) fail('layout-lost', view.node, 'an operator that keeps heads apart', view.found);
  return view;
}

/** A view with its axes in the order of [.., S, T]. */
function arranged(view: View, { arrangement }: ValueLayout): View {
  if (!arrangement) return view;
  return { ...view, axes: arrangement.probabilities.map((axis) => view.axes[axis] ?? []) };
}

/** Scale and bias where nothing else happens between the products, see `PlainScores`. */
function plainScores(
  scores: Node,
  softmax: Node,
  probabilities: Value,
  shapes: Shapes,
): PlainScores | undefined {
  if (
    !scores.is('MatMul') ||
    probabilities !== softmax.outputs[0] ||
    shapes.shape(probabilities)?.length !== 4
  )
    return undefined;
  if (scores.inputs.some((input) => shapes.shape(input)?.length !== 4)) return undefined;
  let value = scores.outputs[0];
  let scale: PlainScores['scale'];
  let bias: Value | undefined;
  while (value && value !== softmax.inputs[0]) {
    const [reader] = value.readers;
    if (value.uses.size !== 1 || value.isOutput || !reader || reader.graph !== scores.graph) return undefined;
    const other = reader.inputs[0] === value ? reader.inputs[1] : reader.inputs[0];
    const divides = reader.is('Div') && reader.inputs[0] === value;
    if (other && (reader.is('Mul') || divides) && !scale && !bias && isScalar(other, shapes)) {
      scale = { operator: divides ? 'Div' : 'Mul', value: other };
    } else if (other && reader.is('Add') && !bias) {
      bias = other;
    } else {
      return undefined;
    }
    value = reader.outputs[0];
  }
  return value ? { scale, bias } : undefined;
}

function isScalar(value: Value, shapes: Shapes): boolean {
  const constant = smallConstant(shapes.model, value);
  return (
    constant?.values.length === 1 && (constantTensor(value) !== undefined || value.producer !== undefined)
  );
}
