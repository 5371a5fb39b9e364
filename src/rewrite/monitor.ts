import {
  type MonitoredLayer,
  type MonitoredValues,
  metricName,
  type NumberedLayer,
  RUN_METRICS,
  type RunMetric,
} from '../attention/monitored';
import type { RewrittenLayer } from '../attention/record';
import type { Graph, Model, Node, Value } from '../ir';
import { DataType, type TypeProto } from '../onnx';
import { attribute } from './attributes';
import { Builder } from './builder';
import { floatTensor } from './tensors';

/** A layer whose metrics cannot become outputs. */
export interface NotMonitored {
  readonly number: number;
  readonly path: string;
  readonly reason: string;
}

export interface Monitoring {
  readonly monitored: readonly MonitoredLayer[];
  readonly notMonitored: readonly NotMonitored[];
}

const SCALAR: TypeProto = { tensorType: { elemType: DataType.FLOAT, shape: { dim: [] } } };

/**
 * Adds outputs with the mean and the deviation of each component of the given layers, float32 scalars (SPEC section 7).
 * Needs nothing but the model and its record, so it works on a model just rewritten and on one read from a file. Of a
 * layer that runs several times, the metrics are those of the last run, as the original keeps them.
 */
export function addMonitoring(model: Model, layers: readonly NumberedLayer[]): Monitoring {
  const nodes = new Map<string, Node>();
  for (const graph of model.scopes()) for (const node of graph.nodes) nodes.set(node.label, node);
  const monitored: MonitoredLayer[] = [];
  const notMonitored: NotMonitored[] = [];
  for (const layer of layers) {
    const runs = layer.runs.flatMap((run) => {
      const node = nodes.get(run.node);
      return node ? [{ run, node }] : [];
    });
    const reason =
      runs.length < layer.runs.length
        ? 'its node is not where the record says'
        : runs.map(({ node }) => outOfReach(node.graph, model)).find((each) => each !== undefined);
    if (reason === undefined) monitored.push(addMetrics(model, layer, runs));
    else notMonitored.push({ number: layer.number, path: layer.path, reason });
  }
  return { monitored, notMonitored };
}

/** Why no output of the model can show what is computed in a scope. */
function outOfReach(scope: Graph, model: Model): string | undefined {
  const { owner, parent } = scope;
  if (scope === model.graph) return undefined;
  if (!owner || !parent) return 'it stands in a local function';
  return owner.is('If') ? outOfReach(parent, model) : `it stands in the body of a ${owner.operator}`;
}

interface Run {
  readonly run: RewrittenLayer;
  readonly node: Node;
}

type Metrics = Readonly<Record<RunMetric, Value>>;

function addMetrics(model: Model, layer: NumberedLayer, runs: readonly Run[]): MonitoredLayer {
  const metrics = new Map(runs.map((each) => [each.node, metricsOf(each, layer)]));
  const inside: string[] = [];
  const outputs = RUN_METRICS.map((metric): [RunMetric, string] => {
    const shown = lastOf(metric, layer, model.graph, metrics, undefined, inside);
    const name = model.names.mint(metricName(layer, metric));
    model.graph.rename(shown, name);
    model.graph.setType(shown, SCALAR);
    model.graph.addOutput(shown);
    return [metric, name];
  });
  return {
    number: layer.number,
    path: layer.path,
    of: valuesOf(layer),
    outputs: Object.fromEntries(outputs) as Record<RunMetric, string>,
    inside,
  };
}

/** What the metrics of a layer are taken over. */
function valuesOf({ runs }: NumberedLayer): MonitoredValues {
  return runs[0]?.form === 'outputs' ? 'outputs' : 'probabilities';
}

/**
 * A metric of the last run of a layer in a scope. Where that stands in a body of an If, the If hands it out; a body
 * without it hands on that of the run before, or NaN where there was none.
 */
function lastOf(
  metric: RunMetric,
  layer: NumberedLayer,
  scope: Graph,
  runs: ReadonlyMap<Node, Metrics>,
  before: Value | undefined,
  inside: string[],
): Value {
  let last = before;
  const holding = holders(scope, [...runs.keys()]);
  for (const node of scope.nodes) {
    const own = runs.get(node)?.[metric];
    if (own) last = own;
    else if (holding.has(node)) {
      for (const body of node.bodies.values()) {
        const given = lastOf(metric, layer, body, runs, last, inside);
        const builder = new Builder(body, undefined, layer.path);
        const handed = given.scope === body ? given : builder.op('Identity', [given]);
        body.setType(handed, SCALAR);
        body.addOutput(handed);
        inside.push(handed.name);
      }
      last = scope.addNodeOutput(node, `${layer.path}/${metric}`);
      scope.setType(last, SCALAR);
      inside.push(last.name);
    }
  }
  if (last) return last;
  const nothing = floatTensor(DataType.FLOAT, [], Float32Array.of(Number.NaN));
  return new Builder(scope, undefined, layer.path).op('Constant', [], {
    attributes: [attribute.tensor('value', nothing)],
    name: `${metric}/not_run`,
  });
}

/** The nodes of a scope in whose bodies the runs stand. */
function holders(scope: Graph, runs: readonly Node[]): Set<Node> {
  const found = new Set<Node>();
  for (const run of runs) {
    for (let at: Graph | undefined = run.graph; at?.owner; at = at.parent) {
      if (at.parent === scope) found.add(at.owner);
    }
  }
  return found;
}

function metricsOf({ run, node }: Run, layer: NumberedLayer): Metrics {
  const { graph } = node;
  const [first, second] = ([1, 2] as const).map((n) => {
    const builder = new Builder(graph, undefined, `${layer.path}/attn${n}`);
    return statistics(builder, component(run, n, builder));
  });
  if (!first || !second) throw new Error('an attention without components');
  return {
    attn1_mean: first.mean,
    attn1_std: first.deviation,
    attn2_mean: second.mean,
    attn2_std: second.deviation,
  };
}

/** A1 or A2; Y1 or Y2 where a fused operator keeps the maps to itself. */
function component({ form, start }: RewrittenLayer, n: 1 | 2, builder: Builder): Value {
  const find = (key: string) => {
    const value = builder.graph.find(start[key] ?? '');
    if (!value) throw new Error(`'${start[key]}' is not where the record says`);
    return value;
  };
  switch (form) {
    case 'probabilities':
      return find(`A${n}`);
    case 'outputs':
      return find(`Y${n}`);
    case 'scores':
      return probabilities(find, start, n, builder);
    default:
      return form satisfies never;
  }
}

/** The map as the function of the form computes it: runtimes that look for common expressions compute it once. */
function probabilities(
  find: (key: string) => Value,
  start: RewrittenLayer['start'],
  n: 1 | 2,
  builder: Builder,
): Value {
  let scores = builder.op('MatMul', [find(`Q${n}`), builder.transpose(find(`K${n}`), [0, 1, 3, 2])]);
  if (start['scale'] !== undefined) scores = builder.op('Mul', [scores, find('scale')]);
  if (start['divisor'] !== undefined) scores = builder.op('Div', [scores, find('divisor')]);
  if (start['bias'] !== undefined) scores = builder.op('Add', [scores, find('bias')]);
  return builder.op('Softmax', [scores], { attributes: [attribute.int('axis', -1)] });
}

/** Mean and sample standard deviation over all elements, in float32. Of a single element the deviation is NaN. */
function statistics(builder: Builder, value: Value): { mean: Value; deviation: Value } {
  const all = [attribute.int('keepdims', 0)];
  const wide = { attributes: [attribute.int('to', DataType.FLOAT)] };
  const one = builder.graph.model.sharedConstant('ai.diffx/one/1', () =>
    floatTensor(DataType.FLOAT, [], Float32Array.of(1)),
  );
  const x = builder.op('Cast', [value], wide);
  const mean = builder.op('ReduceMean', [x], { attributes: all });
  const distance = builder.op('Sub', [x, mean]);
  const squares = builder.op('ReduceSum', [builder.op('Mul', [distance, distance])], { attributes: all });
  const count = builder.op('Cast', [builder.op('Size', [x])], wide);
  const variance = builder.op('Div', [squares, builder.op('Sub', [count, one])]);
  return { mean, deviation: builder.op('Sqrt', [variance]) };
}
