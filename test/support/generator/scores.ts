/** From the product of queries and keys to the probabilities: scale, cap, position biases, masks, softmax. */
import type { Axes, GraphWriter, Labelled } from './graph-writer';
import { axisSize, reshape } from './layouts';
import { DISTANCES, type LayerNumbers } from './numbers';
import { type AttentionCase, CAP, headLabels, hiddenScore, scaleOf } from './plan';

/** What masks are made from: inputs of the graph. */
export interface MaskInputs {
  /** [B, 1, S, T], added or boolean. */
  readonly mask: Labelled | undefined;
  /** [B, T]: 1 for keys, 0 for padding. */
  readonly keys: Labelled | undefined;
}

/** The score in one row of one head, as the graph writes it. `scores` has S and T on its last axes. */
export function probabilitiesOf(
  graph: GraphWriter,
  plan: AttentionCase,
  layer: LayerNumbers,
  scores: Labelled,
  masks: MaskInputs,
): Labelled {
  let value = scores;
  if (plan.norm === 'length 1') {
    value = biased(graph, plan, value, (rank) => {
      const factors = graph.floats(headShape(plan, rank, 1, 1), layer.headScales);
      return (each) => graph.like(each, 'Mul', [factors]);
    });
  }
  value = scaled(graph, plan, value);
  if (plan.cap) {
    const cap = graph.floats([], [CAP]);
    value = graph.like(graph.like(graph.like(value, 'Div', [cap]), 'Tanh'), 'Mul', [cap]);
  }
  value = withPositions(graph, plan, layer, value);
  value = masked(graph, plan, value, masks);
  return softmax(graph, plan, layer, value);
}

function scaled(graph: GraphWriter, plan: AttentionCase, value: Labelled): Labelled {
  if (plan.scale === 'behind') return graph.like(value, 'Mul', [graph.floats([], [scaleOf(plan)])]);
  if (plan.scale === 'divided') return graph.like(value, 'Div', [graph.floats([], [1 / scaleOf(plan)])]);
  return value;
}

/** The shape of something that differs by head, beside scores of this rank: 4, or 5 with groups on their own axis. */
function headShape(plan: AttentionCase, rank: number, rows: number, columns: number): number[] {
  const heads = rank === 5 ? [plan.kvHeads, plan.group] : [plan.kvHeads * plan.group];
  return [1, ...heads, rows, columns];
}

/** Applies an operator to scores whose heads have an axis of their own: others are brought into that form and back. */
function biased(
  graph: GraphWriter,
  plan: AttentionCase,
  value: Labelled,
  make: (rank: number) => (value: Labelled) => Labelled,
): Labelled {
  if (value.axes.length > 3) return make(value.axes.length)(value);
  const apart: Axes = [['B'], headLabels(plan), ['S'], ['T']];
  return reshape(graph, make(4)(reshape(graph, value, apart)), value.axes);
}

function withPositions(
  graph: GraphWriter,
  plan: AttentionCase,
  layer: LayerNumbers,
  value: Labelled,
): Labelled {
  if (plan.bias === 'none') return value;
  return biased(graph, plan, value, (rank) => (each) => {
    if (plan.bias === 'slopes') {
      const positions = cast(graph, plan, range(graph, sizeOfLast(graph, each, 'T')));
      const slopes = graph.floats(headShape(plan, rank, 1, 1), layer.slopes);
      return graph.like(each, 'Add', [graph.op('Mul', [slopes, positions])]);
    }
    const far = graph.op('Clip', [distances(graph, plan, each), graph.int(-DISTANCES), graph.int(DISTANCES)]);
    const rows = graph.op('Add', [far, graph.int(DISTANCES)]);
    const heads = plan.kvHeads * plan.group;
    const table = graph.floats([2 * DISTANCES + 1, heads], layer.table);
    const found = graph.op('Gather', [table, rows], { attributes: 'axis = 0' });
    const front = graph.op('Transpose', [found], { attributes: 'perm = [2, 0, 1]' });
    const bias: Labelled = { name: front, axes: [headLabels(plan), ['S'], ['T']], type: each.type };
    const apart = rank === 5 ? reshape(graph, bias, [['g'], ['r'], ['S'], ['T']]) : bias;
    return graph.like(each, 'Add', [graph.op('Unsqueeze', [apart.name, graph.ints([0])])]);
  });
}

/** The size of the rows or keys of scores, as a scalar. */
function sizeOfLast(graph: GraphWriter, scores: Labelled, label: 'S' | 'T'): string {
  const axis = scores.axes.length - (label === 'S' ? 2 : 1);
  return graph.op('Squeeze', [axisSize(graph, scores, axis), graph.ints([0])]);
}

function range(graph: GraphWriter, end: string): string {
  return graph.op('Range', [graph.int(0), end, graph.int(1)]);
}

function cast(graph: GraphWriter, plan: AttentionCase, name: string): string {
  return graph.op('Cast', [name], { attributes: `to = ${plan.half ? 10 : 1}` });
}

/** How far each key is ahead of each row, [S, T]. */
function distances(graph: GraphWriter, plan: AttentionCase, scores: Labelled): string {
  const keys = range(graph, sizeOfLast(graph, scores, 'T'));
  const first = range(graph, sizeOfLast(graph, scores, 'S'));
  const rows = plan.past > 0 ? graph.op('Add', [first, offset(graph, scores)]) : first;
  return graph.op('Sub', [keys, graph.op('Unsqueeze', [rows, graph.ints([1])])]);
}

/** How many keys stand before those of the first row. */
function offset(graph: GraphWriter, scores: Labelled): string {
  return graph.op('Sub', [sizeOfLast(graph, scores, 'T'), sizeOfLast(graph, scores, 'S')]);
}

/** True where a key is seen, [S, T], by position alone. */
function causal(graph: GraphWriter, plan: AttentionCase, scores: Labelled): string {
  if (plan.mask !== 'window' && graph.settings.opset >= 14 && graph.pick(3) === 1) {
    return triangle(graph, scores);
  }
  if (plan.mask !== 'window' && graph.pick(3) === 1) return corner(graph, plan, scores);
  const ahead = distances(graph, plan, scores);
  const seen =
    graph.settings.opset >= 16 && graph.pick(2) === 1
      ? graph.op('LessOrEqual', [ahead, graph.int(0)])
      : graph.op('Not', [graph.op('Greater', [ahead, graph.int(0)])]);
  if (plan.mask !== 'window') return seen;
  return graph.op('And', [seen, graph.op('Greater', [ahead, graph.int(-2)])]);
}

/** Trilu of ones. */
function triangle(graph: GraphWriter, scores: Labelled): string {
  const rank = scores.axes.length;
  const shape = graph.op('Concat', [axisSize(graph, scores, rank - 2), axisSize(graph, scores, rank - 1)], {
    attributes: 'axis = 0',
  });
  const ones = graph.op('ConstantOfShape', [shape], { attributes: 'value = int64[1] {1}' });
  const lower = graph.op('Trilu', [ones, offset(graph, scores)], { attributes: 'upper = 0' });
  return graph.op('Cast', [lower], { attributes: 'to = 9' });
}

const LONGEST = 16;

/** A corner of a stored triangle, as in GPT-2. */
function corner(graph: GraphWriter, { past, length }: AttentionCase, scores: Labelled): string {
  const ones = Array.from({ length: LONGEST ** 2 }, (_, at) =>
    at % LONGEST <= Math.floor(at / LONGEST) ? 1 : 0,
  );
  const stored = graph.floats([LONGEST, LONGEST], ones, 'bool');
  const last = axisSize(graph, scores, scores.axes.length - 1);
  const from =
    graph.pick(2) === 0
      ? graph.op('Sub', [last, axisSize(graph, scores, scores.axes.length - 2)])
      : graph.isStatic(['S'])
        ? graph.ints([past])
        : graph.op('Sub', [last, axisSize(graph, scores, scores.axes.length - 2)]);
  const to = graph.isStatic(['S']) ? graph.ints([past + length]) : last;
  const rows = graph.op('Slice', [stored, from, to, graph.ints([0])]);
  return graph.op('Slice', [rows, graph.ints([0]), last, graph.ints([1])]);
}

function masked(graph: GraphWriter, plan: AttentionCase, value: Labelled, inputs: MaskInputs): Labelled {
  const hidden = hiddenScore(plan);
  const add = (name: string) => (each: Labelled) => graph.like(each, 'Add', [name]);
  const forRank = (name: string, rank: number) =>
    rank === 5 ? graph.op('Unsqueeze', [name, graph.ints([2])]) : name;
  switch (plan.mask) {
    case 'none':
      return value;
    case 'additive': {
      const { name = '' } = inputs.mask ?? {};
      return biased(graph, plan, value, (rank) => add(forRank(name, rank)));
    }
    case 'padding': {
      const bias = paddingBias(graph, plan, inputs, hidden);
      return biased(graph, plan, value, (rank) => add(forRank(bias, rank)));
    }
    case 'boolean':
      return biased(graph, plan, value, (rank) =>
        hide(graph, forRank(inputs.mask?.name ?? '', rank), hidden),
      );
    case 'causal':
    case 'window':
      return hide(graph, causal(graph, plan, value), hidden)(value);
    case 'causal and padding':
      return biased(graph, plan, value, (rank) => (each) => {
        const keys = graph.op('Cast', [inputs.keys?.name ?? ''], { attributes: 'to = 9' });
        const wide = graph.op('Unsqueeze', [keys, graph.ints([1, 2])]);
        const seen = graph.op('And', [causal(graph, plan, each), wide]);
        return hide(graph, forRank(seen, rank), hidden)(each);
      });
    case 'hidden rows':
      return biased(graph, plan, value, (rank) =>
        hide(graph, forRank(inputs.mask?.name ?? '', rank), hidden),
      );
    default:
      return plan.mask satisfies never;
  }
}

/** (1 - mask) * minimum, as transformers do it. */
function paddingBias(graph: GraphWriter, plan: AttentionCase, { keys }: MaskInputs, hidden: number): string {
  const wide = graph.op('Unsqueeze', [keys?.name ?? '', graph.ints([1, 2])]);
  const float = cast(graph, plan, wide);
  const inverse = graph.op('Sub', [graph.floats([], [1]), float]);
  return graph.op('Mul', [inverse, graph.floats([], [hidden])]);
}

function hide(graph: GraphWriter, seen: string, hidden: number) {
  return (value: Labelled): Labelled => {
    const scalar = graph.floats([], [hidden]);
    // a row of -inf alone must become NaN, which is guarded: no finite stand-in
    return graph.either(
      () => ({ ...value, name: graph.op('Where', [seen, value.name, scalar]) }),
      () => ({ ...value, name: graph.op('Where', [graph.op('Not', [seen]), scalar, value.name]) }),
      () => graph.like(value, 'Add', [graph.op('Where', [seen, graph.floats([], [0]), scalar])]),
    );
  };
}

function softmax(graph: GraphWriter, plan: AttentionCase, layer: LayerNumbers, scores: Labelled): Labelled {
  const sinks = plan.sinks;
  const value = sinks ? withSinks(graph, plan, layer, scores) : scores;
  const wide =
    plan.softmax === 'in float32' ? graph.like(value, 'Cast', [], { attributes: 'to = 1' }) : value;
  const soft = { ...wide, name: normalised(graph, plan, wide) };
  const narrow =
    plan.softmax === 'in float32' ? graph.like(soft, 'Cast', [], { attributes: 'to = 10' }) : soft;
  if (sinks) {
    const to = graph.pick(2) === 0 ? graph.ints([-1]) : axisSize(graph, scores, scores.axes.length - 1);
    return {
      ...narrow,
      axes: scores.axes,
      name: graph.op('Slice', [narrow.name, graph.ints([0]), to, graph.ints([-1])]),
    };
  }
  if (plan.mask !== 'hidden rows') return narrow;
  const nan = graph.op('IsNaN', [narrow.name]);
  return { ...narrow, name: graph.op('Where', [nan, graph.floats([], [0]), narrow.name]) };
}

/** Softmax over the last axis. */
function normalised(graph: GraphWriter, plan: AttentionCase, { name, axes }: Labelled): string {
  const last = { attributes: 'axis = -1' };
  switch (plan.softmax) {
    case 'axis 3':
      return graph.op('Softmax', [name], { attributes: `axis = ${axes.length - 1}` });
    case 'Exp of LogSoftmax':
      return graph.op('Exp', [graph.op('LogSoftmax', [name], last)]);
    case 'written out':
    case 'less the largest': {
      const largest =
        graph.settings.opset >= 18
          ? () => graph.op('ReduceMax', [name, graph.ints([-1])])
          : () => graph.op('ReduceMax', [name], { attributes: 'axes = [-1]' });
      const shifted = plan.softmax === 'written out' ? name : graph.op('Sub', [name, largest()]);
      const weights = graph.op('Exp', [shifted]);
      return graph.op('Div', [weights, graph.op('ReduceSum', [weights, graph.ints([-1])])]);
    }
    default:
      return graph.op('Softmax', [name], last);
  }
}

/** A score for each head behind those of the keys. */
function withSinks(graph: GraphWriter, plan: AttentionCase, layer: LayerNumbers, scores: Labelled): Labelled {
  const rank = scores.axes.length;
  const shape = rank === 3 ? [plan.kvHeads * plan.group, 1, 1] : headShape(plan, rank, 1, 1);
  const sinks = graph.floats(shape, layer.sinks);
  const first = graph.op('Slice', [scores.name, graph.ints([0]), graph.ints([1]), graph.ints([-1])]);
  if (rank === 3) throw new Error('sinks beside heads in the batch');
  const like = graph.op('Shape', [first]);
  const column = graph.op('Expand', [sinks, like]);
  return { ...scores, name: graph.op('Concat', [scores.name, column], { attributes: 'axis = -1' }) };
}
