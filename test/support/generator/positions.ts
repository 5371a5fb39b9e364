/** Norms and rotary embeddings of queries and keys, as operators. */
import { angle } from './expected';
import type { GraphWriter, Labelled } from './graph-writer';
import { type AttentionCase, isInterleaved, NORM_EPSILON, rotaryWidth } from './plan';

/** ReduceMean or ReduceSum over the last axis: its axes are an attribute, later an input. */
export function reduceLast(graph: GraphWriter, operator: 'ReduceMean' | 'ReduceSum', name: string): string {
  return operator === 'ReduceSum' || graph.settings.opset >= 18
    ? graph.op(operator, [name, graph.ints([-1])])
    : graph.op(operator, [name], { attributes: 'axes = [-1]' });
}

/** Normalises the last axis. */
export function normalised(
  graph: GraphWriter,
  { norm }: AttentionCase,
  value: Labelled,
  name: string,
  weight: Float64Array,
): Labelled {
  const { opset } = graph.settings;
  if (norm === 'none') return value;
  if (norm === 'length 1') {
    const squares = graph.op('Mul', [value.name, value.name]);
    const length = graph.op('Sqrt', [reduceLast(graph, 'ReduceSum', squares)]);
    // as torch.nn.functional.normalize does: zero stays zero
    return graph.like(value, 'Div', [graph.op('Max', [length, graph.floats([], [1e-6])])]);
  }
  const factor = graph.weight(`${name}.weight`, [weight.length], weight);
  if (norm === 'LayerNorm of heads') {
    if (opset >= 17 && graph.pick(2) === 0) {
      return graph.like(value, 'LayerNormalization', [factor], {
        attributes: `axis = -1, epsilon: float = ${NORM_EPSILON}`,
      });
    }
    const centred = graph.like(value, 'Sub', [reduceLast(graph, 'ReduceMean', value.name)]);
    return graph.like(divided(graph, centred), 'Mul', [factor]);
  }
  if (opset >= 23 && graph.pick(2) === 0) {
    return graph.like(value, 'RMSNormalization', [factor], {
      attributes: `axis = -1, epsilon: float = ${NORM_EPSILON}`,
    });
  }
  return { ...value, name: graph.op('Mul', [factor, divided(graph, value).name]) };
}

/** A value divided by the root of its mean square. */
function divided(graph: GraphWriter, value: Labelled): Labelled {
  const squares = graph.either(
    () => graph.op('Pow', [value.name, graph.floats([], [2])]),
    () => graph.op('Mul', [value.name, value.name]),
  );
  const mean = reduceLast(graph, 'ReduceMean', squares);
  const root = graph.op('Sqrt', [graph.op('Add', [mean, graph.floats([], [NORM_EPSILON])])]);
  return graph.either(
    () => graph.like(value, 'Div', [root]),
    () => graph.like(value, 'Mul', [graph.op('Reciprocal', [root])]),
  );
}

/** Cosines and sines of the positions of the rows, [B or 1, S, columns]. */
export interface Turning {
  readonly cos: string;
  readonly sin: string;
  /** How many columns they have: one for each pair, or one for each column. */
  readonly doubled: boolean;
  readonly ids: string | undefined;
}

const LONGEST = 16;

/** The tables of a model. `positions`: ids that are fed, [B, S]. */
export function turning(graph: GraphWriter, plan: AttentionCase, positions: Labelled | undefined): Turning {
  const width = rotaryWidth(plan);
  const doubled = !isInterleaved(plan);
  const columns = doubled ? width : width / 2;
  if (!positions) {
    const table = (f: (angle: number) => number) =>
      graph.floats([1, plan.length, columns], tableOf(f, plan.past, plan.length, width, columns));
    return { cos: table(Math.cos), sin: table(Math.sin), doubled, ids: undefined };
  }
  if (plan.positions === 'table') {
    const table = (f: (angle: number) => number) =>
      graph.op('Gather', [
        graph.floats([LONGEST, columns], tableOf(f, 0, LONGEST, width, columns)),
        positions.name,
      ]);
    return { cos: table(Math.cos), sin: table(Math.sin), doubled, ids: positions.name };
  }
  const row = graph.op('Unsqueeze', [positions.name, graph.ints([1])]);
  const float = graph.op('Cast', [row], { attributes: 'to = 1' });
  const frequencies = Array.from({ length: width / 2 }, (_, i) => angle(1, i, width));
  const inverse = graph.floats([1, width / 2, 1], frequencies, 'float');
  const angles = graph.op('Transpose', [graph.op('MatMul', [inverse, float])], {
    attributes: 'perm = [0, 2, 1]',
  });
  const all = doubled ? graph.op('Concat', [angles, angles], { attributes: 'axis = -1' }) : angles;
  const typed = (name: string) => (plan.half ? graph.op('Cast', [name], { attributes: 'to = 10' }) : name);
  return {
    cos: typed(graph.op('Cos', [all])),
    sin: typed(graph.op('Sin', [all])),
    doubled,
    ids: positions.name,
  };
}

export function tableOf(
  f: (angle: number) => number,
  from: number,
  count: number,
  width: number,
  columns: number,
): Float64Array {
  return Float64Array.from({ length: count * columns }, (_, i) =>
    f(angle(from + Math.floor(i / columns), (i % columns) % (width / 2), width)),
  );
}

/** Turns the last axis of [B, heads, S, d] or [B, S, heads, d]. */
export function turned(
  graph: GraphWriter,
  plan: AttentionCase,
  value: Labelled,
  { cos, sin }: Turning,
): Labelled {
  const width = rotaryWidth(plan);
  const headAxis = value.axes.findIndex((axis) => axis.includes('g'));
  const along = (table: string) => graph.op('Unsqueeze', [table, graph.ints([headAxis])]);
  const tables = { cos: along(cos), sin: along(sin) };
  if (width === plan.width) return { ...value, name: turnAll(graph, plan, value.name, tables, width) };
  const [front = '', rest = ''] = graph.either(
    () =>
      graph.ops('Split', [value.name, graph.ints([width, plan.width - width])], {
        attributes: 'axis = -1',
        outputs: 2,
      }),
    () => [slice(graph, value.name, 0, width), slice(graph, value.name, width, 2 ** 31 - 1)],
  );
  const name = graph.op('Concat', [turnAll(graph, plan, front, tables, width), rest], {
    attributes: 'axis = -1',
  });
  return { ...value, name };
}

function slice(graph: GraphWriter, name: string, from: number, to: number, step = 1): string {
  const inputs = [[from], [to], [-1], ...(step === 1 ? [] : [[step]])];
  return graph.op('Slice', [name, ...inputs.map((each) => graph.ints(each))]);
}

interface Tables {
  readonly cos: string;
  readonly sin: string;
}

function turnAll(
  graph: GraphWriter,
  plan: AttentionCase,
  x: string,
  { cos, sin }: Tables,
  width: number,
): string {
  const mul = (a: string, b: string) => graph.op('Mul', graph.pick(2) === 0 ? [a, b] : [b, a]);
  if (!isInterleaved(plan)) {
    const [first = '', second = ''] = graph.either(
      () => [slice(graph, x, 0, width / 2), slice(graph, x, width / 2, 2 ** 31 - 1)],
      () =>
        graph.ops('Split', [x], {
          attributes: `axis = -1${graph.settings.opset >= 18 ? ', num_outputs = 2' : ''}`,
          outputs: 2,
        }),
    );
    const crossed = graph.op('Concat', [graph.op('Neg', [second]), first], { attributes: 'axis = -1' });
    return graph.op('Add', [mul(x, cos), mul(crossed, sin)]);
  }
  const even = slice(graph, x, 0, 2 ** 31 - 1, 2);
  const odd = slice(graph, x, 1, 2 ** 31 - 1, 2);
  const a = graph.op('Sub', [mul(even, cos), mul(odd, sin)]);
  const b = graph.op('Add', [mul(odd, cos), mul(even, sin)]);
  const last = graph.ints([-1]);
  const pairs = graph.op('Concat', [graph.op('Unsqueeze', [a, last]), graph.op('Unsqueeze', [b, last])], {
    attributes: 'axis = -1',
  });
  return graph.op('Reshape', [pairs, graph.ints([0, 0, 0, width])]);
}
