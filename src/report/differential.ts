import { type Candidate, dataInputs } from '../analyse';
import { DOMAIN, type RewriteRecord, type RewrittenLayer } from '../attention/record';
import { type Model, type Node, pushAll, type Value } from '../ir';
import { parameterMetrics, storedNumbers } from '../monitor/parameter-metrics';
import type { DifferentialByDiffx, DifferentialLayer } from './inspection';

/** What a model that diffx rewrote says of itself, with lambda as its parameters are now. */
export function describeDifferential(model: Model, record: RewriteRecord): DifferentialByDiffx {
  return {
    by: 'diffx',
    version: record.version,
    preset: record.options.preset,
    options: record.options,
    sourceSha256: record.sourceHash,
    layers: record.layers.map((layer) => describeLayer(model, layer)),
  };
}

/** One rewritten layer; the parameters are read from the model. */
export function describeLayer(model: Model, layer: RewrittenLayer): DifferentialLayer {
  const { path, depth, form, node, heads, kvHeads, headWidth, valueWidth, epsilon } = layer;
  return {
    ...{ path, depth, form, node, heads, kvHeads, headWidth, valueWidth },
    lambda: parameterMetrics(model, layer)?.lambda_full ?? null,
    lambdaPerToken: model.graph.values.has(`${path}.lambda_proj.weight`),
    lambdaInit: storedNumbers(model, `${path}.lambda_init`)?.[0] ?? null,
    // A float32 attribute: the digits behind the seventh say nothing.
    epsilon: epsilon === undefined ? null : Number(epsilon.toPrecision(7)),
  };
}

/** Names of the new parameters of an attention, behind its path: SPEC section 2. */
const SUFFIXES = [
  ...['lambda_q1', 'lambda_k1', 'lambda_q2', 'lambda_k2', 'lambda_init', 'subln.weight'],
  ...['q2_proj.weight', 'k2_proj.weight', 'q2_proj.bias', 'k2_proj.bias', 'lambda_proj.weight'],
];

/** How many numbers a rewrite added to a model. */
export function parametersAdded(model: Model, layers: readonly RewrittenLayer[]): number {
  let all = 0;
  for (const path of new Set(layers.map((layer) => layer.path))) {
    for (const suffix of SUFFIXES) {
      const tensor = model.graph.values.get(`${path}.${suffix}`)?.initializer;
      if (tensor) all += tensor.dims.reduce((size, dim) => size * Number(dim), 1);
    }
  }
  return all;
}

/** Of the candidates of a rewritten model, those that are no part of a differential attention. */
export function withoutRewritten(
  model: Model,
  record: RewriteRecord,
  candidates: readonly Candidate[],
): Candidate[] {
  const own = new Set<Node>();
  for (const { proto, body } of model.functions) {
    if (proto.domain !== DOMAIN) continue;
    for (const graph of body.scopes()) for (const node of graph.nodes) own.add(node);
  }
  const anchors = new Set(candidates.map(({ anchor }) => anchor));
  for (const anchor of anchorsOf(model, record, anchors)) own.add(anchor);
  return candidates.filter(({ anchor }) => !own.has(anchor));
}

/** Probabilities and attended values: the starts of a form that lie behind a softmax of the layer. */
const BEHIND_SOFTMAX = new Set(['A1', 'A2', 'Y1', 'Y2']);

/** The softmaxes and attention operators that the rewritten layers end: the nearest ones behind each. */
function anchorsOf(model: Model, record: RewriteRecord, anchors: ReadonlySet<Node>): Set<Node> {
  const found = new Set<Node>();
  const stops = new Set(
    record.layers.flatMap(({ start }) =>
      Object.entries(start).flatMap(([name, value]) => (BEHIND_SOFTMAX.has(name) ? [] : [value])),
    ),
  );
  const labels = new Set(record.layers.map(({ node }) => node));
  const seen = new Set<Value>();
  const open: Value[] = [];
  for (const graph of model.scopes()) {
    for (const node of graph.nodes) if (labels.has(node.label)) pushAll(open, dataInputs(node));
  }
  for (let value = open.pop(); value; value = open.pop()) {
    if (seen.has(value) || stops.has(value.name)) continue;
    seen.add(value);
    const node = value.producer;
    if (!node) continue;
    if (anchors.has(node)) found.add(node);
    // In front of a function call the own softmax is no candidate any more; what lies behind it is another layer.
    else if (!node.is('Softmax')) pushAll(open, dataInputs(node));
  }
  return found;
}
