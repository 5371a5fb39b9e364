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
  const monitored: MonitoredLayer[] = [];
  const notMonitored: NotMonitored[] = [];
  for (const { layer, runs, reason } of located(model, layers)) {
    const { number, path } = layer;
    if (reason !== undefined) {
      notMonitored.push({ number, path, reason });
      continue;
    }
    const { outputs, inside } = addScalars(layer, RUN_METRICS, runs, metricsOf);
    monitored.push({ number, path, of: valuesOf(layer), outputs, inside });
  }
  return { monitored, notMonitored };
}

/**
 * Adds outputs with the mean of lambda over tokens and heads of those layers whose lambda depends on the input.
 * @returns names of the outputs by the numbers of the layers
 */
export function addLambdaMeans(model: Model, layers: readonly NumberedLayer[]): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  for (const { layer, runs, reason } of located(model, layers)) {
    if (reason !== undefined || !hasLambdaLogits(layer)) continue;
    names.set(layer.number, addScalars(layer, [LAMBDA], runs, lambdaOf).outputs[LAMBDA]);
  }
  return names;
}

/** What the start of a layer calls the logits of a lambda that depends on the input; its mean is `lambda_full`. */
const LOGITS = 'lambda_logits';
const LAMBDA = 'lambda_full';

/** True for a layer whose lambda depends on the input. */
export function hasLambdaLogits({ runs }: NumberedLayer): boolean {
  return runs.every(({ start }) => start[LOGITS] !== undefined);
}

interface Located {
  readonly layer: NumberedLayer;
  readonly runs: readonly Run[];
  /** Why its metrics cannot become outputs. */
  readonly reason: string | undefined;
}

function located(model: Model, layers: readonly NumberedLayer[]): Located[] {
  const nodes = new Map<string, Node>();
  for (const graph of model.scopes()) for (const node of graph.nodes) nodes.set(node.label, node);
  return layers.map((layer) => {
    const runs = layer.runs.flatMap((run) => {
      const node = nodes.get(run.node);
      return node ? [{ run, node, path: layer.path }] : [];
    });
    const reason =
      runs.length < layer.runs.length || runs.some((run) => !startsThere(run))
        ? 'it is not where the record says; the model was changed after it was written'
        : runs.map(({ node }) => outOfReach(node.graph, model)).find((each) => each !== undefined);
    return { layer, runs, reason };
  });
}

function startsThere({ run, node }: Run): boolean {
  return Object.values(run.start).every((name) => node.graph.find(name) !== undefined);
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
  readonly path: string;
}

/** Scalars by name. */
type Scalars<Name extends string> = Readonly<Record<Name, Value>>;

/** Makes scalars of the last run of a layer outputs of the model, under the names of SPEC. */
function addScalars<Name extends string>(
  layer: NumberedLayer,
  names: readonly Name[],
  runs: readonly Run[],
  compute: (run: Run) => Scalars<Name>,
): { outputs: Record<Name, string>; inside: string[] } {
  const computed = new Map(runs.map((each) => [each.node, compute(each)]));
  const inside: string[] = [];
  const model = runs[0]?.node.graph.model;
  if (!model) throw new Error(`${layer.path} has no runs`);
  const outputs = names.map((name): [Name, string] => {
    const shown = lastOf(name, layer, model.graph, computed, undefined, inside);
    const output = model.names.mint(metricName(layer, name));
    model.graph.rename(shown, output);
    model.graph.setType(shown, SCALAR);
    model.graph.addOutput(shown);
    return [name, output];
  });
  return { outputs: Object.fromEntries(outputs) as Record<Name, string>, inside };
}

/** What the metrics of a layer are taken over. */
function valuesOf({ runs }: NumberedLayer): MonitoredValues {
  return runs[0]?.form === 'outputs' ? 'outputs' : 'probabilities';
}

/**
 * A metric of the last run of a layer in a scope. Where that stands in a body of an If, the If hands it out; a body
 * without it hands on that of the run before, or NaN where there was none.
 */
function lastOf<Name extends string>(
  metric: Name,
  layer: NumberedLayer,
  scope: Graph,
  runs: ReadonlyMap<Node, Scalars<Name>>,
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

function metricsOf({ run, node, path }: Run): Scalars<RunMetric> {
  const [first, second] = ([1, 2] as const).map((n) => {
    const builder = behind(node, `${path}/attn${n}`);
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

/** New nodes stand behind that of the layer: a later If may hand the metrics on. */
function behind(node: Node, prefix: string): Builder {
  const { graph } = node;
  return new Builder(graph, graph.nodes[graph.nodes.indexOf(node) + 1], prefix);
}

/** The mean of sigmoid(logits), as the function of a form computes lambda from them. */
function lambdaOf({ run, node, path }: Run): Scalars<typeof LAMBDA> {
  const builder = behind(node, `${path}/lambda`);
  const logits = builder.op('Cast', [recorded(run, LOGITS, builder)], FLOAT);
  const mean = builder.op('ReduceMean', [builder.op('Sigmoid', [logits])], { attributes: ALL });
  return { [LAMBDA]: mean };
}

/** A value that a layer starts from. */
function recorded({ start }: RewrittenLayer, key: string, { graph }: Builder): Value {
  const value = graph.find(start[key] ?? '');
  if (!value) throw new Error(`'${start[key]}' is not where the record says`);
  return value;
}

/** A1 or A2; Y1 or Y2 where a fused operator keeps the maps to itself. */
function component(run: RewrittenLayer, n: 1 | 2, builder: Builder): Value {
  switch (run.form) {
    case 'probabilities':
      return recorded(run, `A${n}`, builder);
    case 'outputs':
      return recorded(run, `Y${n}`, builder);
    case 'scores':
      return probabilities(run, n, builder);
    default:
      return run.form satisfies never;
  }
}

/** The map as the function of the form computes it: runtimes that look for common expressions compute it once. */
function probabilities(run: RewrittenLayer, n: 1 | 2, builder: Builder): Value {
  const find = (key: string) => recorded(run, key, builder);
  const { start } = run;
  let scores = builder.op('MatMul', [find(`Q${n}`), builder.transpose(find(`K${n}`), [0, 1, 3, 2])]);
  if (start['scale'] !== undefined) scores = builder.op('Mul', [scores, find('scale')]);
  if (start['divisor'] !== undefined) scores = builder.op('Div', [scores, find('divisor')]);
  if (start['bias'] !== undefined) scores = builder.op('Add', [scores, find('bias')]);
  return builder.op('Softmax', [scores], { attributes: [attribute.int('axis', -1)] });
}

/** Over all elements. */
const ALL = [attribute.int('keepdims', 0)];
const FLOAT = { attributes: [attribute.int('to', DataType.FLOAT)] };

/** Mean and sample standard deviation over all elements, in float32. Of a single element the deviation is NaN. */
function statistics(builder: Builder, value: Value): { mean: Value; deviation: Value } {
  const one = builder.graph.model.sharedConstant('ai.diffx/one/1', () =>
    floatTensor(DataType.FLOAT, [], Float32Array.of(1)),
  );
  const x = builder.op('Cast', [value], FLOAT);
  const mean = builder.op('ReduceMean', [x], { attributes: ALL });
  const distance = builder.op('Sub', [x, mean]);
  const squares = builder.op('ReduceSum', [builder.op('Mul', [distance, distance])], { attributes: ALL });
  const count = builder.op('Cast', [builder.op('Size', [x])], FLOAT);
  const variance = builder.op('Div', [squares, builder.op('Sub', [count, one])]);
  return { mean, deviation: builder.op('Sqrt', [variance]) };
}
