import {
  ancestors,
  dataInputs,
  followViews,
  type LostView,
  type Shapes,
  type SoftmaxForm,
  softmaxAxis,
  softmaxForm,
  type View,
} from '../src/analyse';
import { plainScores } from '../src/attention/plain-scores';
import type { Recogniser } from '../src/attention/recogniser';
import type { AttentionSite, WrittenOutCore } from '../src/attention/site';
import { describeTraits } from '../src/attention/traits';
import { siteTypes } from '../src/attention/types';
import { type Node, pushAll, type Value } from '../src/ir';
import type { Analysis } from '../src/match/context';
import { isProjected, traceKeys } from '../src/match/fed-keys';
import { mergeSides } from '../src/match/merged-sides';
import { attempt, fail } from '../src/match/outcome';
import { type ScoreLayout, scoreView, type ValueLayout } from '../src/match/product';
import { isProjection } from '../src/match/projection';
import { knownView, type Side, traceSide } from '../src/match/side';
import {
  arrivesAt,
  findScoreProducts,
  findWeighedValues,
  type ScoreProduct,
  type WeighedValues,
} from '../src/match/softmax-products';

/**
 * Attention written out in operators: a product of queries and keys, anything elementwise, a softmax,
 * anything elementwise, a product with values. Exporters differ in everything else; the softmax may be written out too.
 */
export const softmaxAttention: Recogniser = {
  name: 'softmax-attention',
  accepts: ({ kind }) => kind === 'softmax',
  recognise: ({ anchor }, analysis) => recognise(anchor, analysis),
};

function recognise(softmax: Node, analysis: Analysis): AttentionSite {
  const { shapes } = analysis;
  const form = softmaxForm(softmax);
  if (!form)
    fail(
      'operator-form',
      softmax,
      'a softmax before the product with values',
      'exponentials that are divided behind it',
    );
  analysis.spend(0, softmax);
  const end = findWeighedValues(form, analysis);
  const { product, values, layout, joined, map: probabilities } = end;
  const products = findScoreProducts(form, end, analysis);
  refuseOtherMaps(form, end, analysis);
  const sides = products.map((each) => ({ ...each, ...traceSides(each, form, analysis) }));
  const { scores, layout: scoring, query, key } = mergeSides(sides, analysis);
  const { queryIndex, keyIndex } = scoring;
  const output = joined?.output ?? product.outputs[0];
  const widthAxis = layout.arrangement?.values.at(-1);
  const valueShape = shapes.shape(values);
  const valueWidth = (widthAxis === undefined ? valueShape?.at(-1) : valueShape?.[widthAxis])?.value;
  if (!output || valueWidth === undefined) {
    fail('heads-unknown', product, 'values of known width', 'a width that is no number');
  }
  const plain = products.length === 1 && !joined && !layout.arrangement && keyIndex !== 0;
  const core: WrittenOutCore = {
    kind: 'written-out',
    scores,
    queryIndex,
    keyIndex,
    softmax,
    product,
    probabilities,
    readers: [...probabilities.uses].filter(({ node }) => !joined || node === product),
    values,
    output,
    arrangement: layout.arrangement,
    probabilitiesView: arranged(followScores(scores, scoring, query, probabilities, shapes), layout),
    joined: joined && { operands: joined.operands, aligned: joined.aligned },
    plain: plain ? plainScores(scores, softmax, probabilities, shapes) : undefined,
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
    ...siteTypes(softmax, query, output),
    traits: describeTraits({ scores, normalised: form.input, query, key, plain: core.plain }, analysis),
  };
}

/**
 * Two maps that are added or multiplied before the product with values are one attention with two softmaxes; each of them
 * alone would be rewritten with half of what the product weighs.
 */
function refuseOtherMaps(form: SoftmaxForm, end: WeighedValues, analysis: Analysis): void {
  const { dataflow, shapes } = analysis;
  const seen = new Set<Value>([form.input]);
  const open = [end.map];
  for (let value = open.pop(); value; value = open.pop()) {
    const node = seen.has(value) ? undefined : value.producer;
    seen.add(value);
    if (!node || isProjection(node, dataflow, shapes)) continue;
    const other = node === form.node ? undefined : softmaxForm(node);
    if (other && attempt(() => findScoreProducts(other, end, analysis)).matched)
      fail(
        'several-softmaxes',
        node,
        'one softmax before the product with values',
        `'${node.label}' beside it`,
      );
    pushAll(open, dataInputs(node));
  }
  analysis.spend(seen.size, form.node);
}

/** Queries and keys of one product of scores. */
function traceSides({ scores, layout }: ScoreProduct, form: SoftmaxForm, analysis: Analysis) {
  const { shapes, dataflow } = analysis;
  const { node: softmax } = form;
  refuseOtherAxes(form, layout, scores, shapes);
  const query = traceSide(
    operandOf(scores, layout.queryIndex, analysis),
    layout.queryWidth,
    undefined,
    softmax,
    dataflow,
    shapes,
  );
  const key = traceKeys(
    operandOf(scores, layout.keyIndex, analysis),
    layout.keyWidth,
    undefined,
    query,
    softmax,
    dataflow,
    shapes,
  );
  if (isProjected(key)) refuseSharedColumns(query, key);
  if (query.heads % key.heads !== 0 || query.width !== key.width) {
    fail(
      'heads-do-not-divide',
      scores,
      'query heads that are a multiple of the key heads, of one width',
      `${query.heads} heads of width ${query.width}, ${key.heads} key heads of width ${key.width}`,
    );
  }
  return { query, key };
}

/**
 * A softmax runs over the keys, or over the queries (which then compete for the keys). Where its axis can be followed, no
 * other one is right: a softmax over heads, say, would be another one over half of them.
 */
function refuseOtherAxes(form: SoftmaxForm, scoring: ScoreLayout, scores: Node, shapes: Shapes): void {
  const axis = softmaxAxis(form, shapes);
  if (axis === undefined) return;
  const along = [scoring.keyAxis, scoring.queryAxis].map(
    (from) => from !== undefined && arrivesAt(scores, from, form.input, axis, shapes),
  );
  if (along.includes(true) || along.includes(undefined)) return;
  const rank = shapes.shape(form.input)?.length;
  fail('softmax-axis', form.over, 'a softmax over keys or queries', `axis ${axis} of ${rank} axes`);
}

/** Where nobody knows which columns are the heads of a side, none of them may belong to the other side as well. */
function refuseSharedColumns(query: Side, key: Side): void {
  if (query.projection.node !== key.projection.node) return;
  for (const { operandView } of [query, key]) {
    const mine = new Set(query.columns);
    if ('node' in operandView && key.columns.some((column) => mine.has(column))) knownView(operandView);
  }
}

function operandOf(scores: Node, index: number, { shapes }: Analysis): Value {
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
  return operand;
}

/** The layout of the probabilities in terms of the columns of the queries, or where it was lost. */
function followScores(
  scores: Node,
  layout: ScoreLayout,
  query: Side,
  probabilities: Value,
  shapes: Shapes,
): View | LostView {
  const output = scores.outputs[0];
  const shape = shapes.shape(output);
  if (!output || !shape) fail('layout-lost', scores, 'scores of known rank', 'an unknown rank');
  if ('node' in query.operandView) return query.operandView;
  const start = scoreView(layout, query.operandView, shape);
  const stop = new Set([output]);
  const view = followViews(shapes, new Map([[output, start]]), ancestors(probabilities, stop)).get(
    probabilities,
  );
  return view ?? fail('layout-lost', scores, 'probabilities that come from the scores', 'no path');
}

/** A view with its axes in the order of [.., S, T]. */
function arranged(view: View | LostView, { arrangement }: ValueLayout): View | LostView {
  if (!arrangement || 'node' in view) return view;
  return { ...view, axes: arrangement.probabilities.map((axis) => view.axes[axis] ?? []) };
}
