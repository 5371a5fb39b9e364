/** Attention written out in operators. */
import type { Axes, GraphWriter, Label, Labelled } from './graph-writer';
import { arrange, repeatHeads, reshape, sizeFrom, transpose } from './layouts';
import type { LayerNumbers } from './numbers';
import { type AttentionCase, headLabels, scaleOf } from './plan';
import { normalised, type Turning, turned } from './positions';
import type { Parts } from './projections';
import { type MaskInputs, probabilitiesOf } from './scores';

/** What one layer is given beside its projections. */
export interface LayerInputs extends MaskInputs {
  readonly turning: Turning | undefined;
  readonly pastKeys: Labelled | undefined;
  readonly pastValues: Labelled | undefined;
}

export interface WrittenAttention {
  /** [B, heads, S, e] in some layout. */
  readonly attended: Labelled;
  readonly presentKeys: Labelled;
  readonly presentValues: Labelled;
  /** [B, heads, S, T] */
  readonly map: Labelled;
}

export function writeAttention(
  graph: GraphWriter,
  plan: AttentionCase,
  layer: LayerNumbers,
  path: string,
  parts: Parts,
  inputs: LayerInputs,
): WrittenAttention {
  const heads = headLabels(plan);
  const Q = side(graph, plan, parts.q, heads, `${path}.q_norm`, layer.queryNorm, inputs.turning);
  const newKeys = side(graph, plan, parts.k, ['g'], `${path}.k_norm`, layer.keyNorm, inputs.turning);
  const presentKeys = joinPast(graph, plan, newKeys, inputs.pastKeys, 'd');
  const presentValues = joinPast(graph, plan, parts.v, inputs.pastValues, 'e');
  const scores = product(graph, plan, Q, presentKeys);
  const map = probabilitiesOf(graph, plan, layer, scores, inputs);
  return { attended: attend(graph, plan, map, presentValues), presentKeys, presentValues, map };
}

/** Queries or keys with norms and positions. */
export function side(
  graph: GraphWriter,
  plan: AttentionCase,
  projected: Labelled,
  heads: readonly Label[],
  name: string,
  norm: Float64Array,
  turning: Turning | undefined,
): Labelled {
  const row = projected.axes.flat().find((label) => label === 'S' || label === 'T') ?? 'S';
  const front: Axes = [['B'], heads, [row], ['d']];
  const behind: Axes = [['B'], [row], heads, ['d']];
  let value = projected;
  if (plan.norm === 'RMS of all') {
    const flat = reshape(graph, value, [...value.axes.slice(0, 2), [...heads, 'd']]);
    value = normalised(graph, plan, flat, name, norm);
  } else if (plan.norm !== 'none') {
    value = normalised(graph, plan, arrange(graph, value, graph.pick(2) === 0 ? front : behind), name, norm);
  }
  if (!turning) return value;
  return turned(graph, plan, arrange(graph, value, graph.pick(2) === 0 ? front : behind), turning);
}

/** The order of axes in which a cache is kept. */
export function cacheAxes({ cacheAxes: order }: AttentionCase, width: 'd' | 'e', row: 'P' | 'S' | 'T'): Axes {
  const labels: Record<string, Label> = { T: row, d: width };
  return order.split(' ').map((label) => [labels[label] ?? label]);
}

/** Keys or values behind cached ones, in the layout of the cache; the rows are called T from here on. */
function joinPast(
  graph: GraphWriter,
  plan: AttentionCase,
  value: Labelled,
  past: Labelled | undefined,
  width: 'd' | 'e',
): Labelled {
  const asKeys = (each: Labelled): Labelled => ({
    ...each,
    axes: each.axes.map((axis) => axis.map((label) => (label === 'S' ? 'T' : label))),
  });
  if (plan.cache === 'none') return asKeys(value);
  const own = arrange(graph, value, cacheAxes(plan, width, 'S'));
  if (!past) return asKeys(own);
  const axis = own.axes.findIndex((labels) => labels.includes('S'));
  return asKeys({
    ...own,
    name: graph.op('Concat', [past.name, own.name], {
      attributes: `axis = ${graph.pick(3) === 1 ? axis - own.axes.length : axis}`,
    }),
  });
}

/** True where heads that all queries share are left to broadcasting. */
function broadcasts(graph: GraphWriter, plan: AttentionCase): boolean {
  return plan.kvHeads === 1 && plan.group > 1 && plan.core === '4d' && graph.pick(2) === 0;
}

/** Keys or values for the product: repeated for groups where the form needs it. */
function operand(graph: GraphWriter, plan: AttentionCase, value: Labelled, repeated: boolean): Labelled {
  if (!repeated) return value;
  const heads = headLabels(plan);
  if (plan.group === 1) {
    return { ...value, axes: value.axes.map((axis) => axis.flatMap((l) => (l === 'g' ? heads : [l]))) };
  }
  const apart = value.axes.some((axis) => axis.join() === 'g')
    ? value
    : arrange(graph, value, [['B'], ['g'], ['T'], [value.axes.flat().includes('d') ? 'd' : 'e']]);
  return repeatHeads(graph, apart, heads);
}

function product(graph: GraphWriter, plan: AttentionCase, queries: Labelled, keys: Labelled): Labelled {
  const heads = headLabels(plan);
  const shared = plan.core === '5d' || broadcasts(graph, plan);
  const K = operand(graph, plan, keys, !shared);
  const keyHeads = shared ? ['g'] : heads;
  const scales = scalesBefore(graph, plan, queries);
  const scaledQ = scales.query ? (value: Labelled) => graph.like(value, 'Mul', [scales.query ?? '']) : same;
  const scaledK = scales.key ? (value: Labelled) => graph.like(value, 'Mul', [scales.key ?? '']) : same;
  const early = graph.pick(2) === 0;
  const Q = early ? scaledQ(queries) : queries;
  const late = early ? same : scaledQ;
  const multiply = (q: Labelled, k: Labelled, axes: Axes): Labelled => ({
    ...q,
    axes,
    name: graph.op('MatMul', [late(q).name, scaledK(k).name]),
  });
  switch (plan.core) {
    case '4d': {
      const axes: Axes = [['B'], heads, ['S'], ['T']];
      const left = arrange(graph, Q, [['B'], heads, ['S'], ['d']]);
      if (plan.product === 'FusedMatMul') {
        const right = scaledK(arrange(graph, K, [['B'], keyHeads, ['T'], ['d']]));
        return {
          ...left,
          axes,
          name: graph.op('FusedMatMul', [late(left).name, right.name], {
            domain: 'com.microsoft',
            attributes: 'alpha: float = 1.0, transB = 1',
          }),
        };
      }
      if (plan.product === 'keys first') {
        const rows = scaledK(arrange(graph, K, [['B'], keyHeads, ['T'], ['d']]));
        const name = graph.op('MatMul', [rows.name, late(transpose(graph, left, [0, 1, 3, 2])).name]);
        return transpose(graph, { ...left, axes: [['B'], heads, ['T'], ['S']], name }, [0, 1, 3, 2]);
      }
      return multiply(left, turnedKeys(graph, K, [['B'], keyHeads]), axes);
    }
    case '3d':
      return multiply(
        arrange(graph, Q, [['B', ...heads], ['S'], ['d']]),
        turnedKeys(graph, K, [['B', ...heads]]),
        [['B', ...heads], ['S'], ['T']],
      );
    case '5d': {
      const left = arrange(graph, Q, [['B'], ['g'], ['r'], ['S'], ['d']]);
      const right = turnedKeys(graph, K, [['B'], ['g']]);
      const name = graph.op('Unsqueeze', [right.name, graph.ints([2])]);
      return multiply(left, { ...right, name }, [['B'], ['g'], ['r'], ['S'], ['T']]);
    }
    case 'Einsum': {
      const orders: Axes[] = [
        [['B'], heads, ['S'], ['d']],
        [['B'], ['S'], heads, ['d']],
        [['S'], ['B'], heads, ['d']],
      ];
      const order = orders[graph.pick(3)] ?? [];
      const keyOrder = order.map((axis) => (axis.join() === 'S' ? ['T'] : axis));
      const [left, right] = [late(arrange(graph, Q, order)), scaledK(arrange(graph, K, keyOrder))];
      const axes: Axes = [['B'], heads, ['S'], ['T']];
      return { ...left, axes, name: einsum(graph, [left, right], axes) };
    }
    default:
      return plan.core satisfies never;
  }
}

const same = (value: Labelled) => value;

/** Keys as [.., d, T], turned at once or at the end. */
function turnedKeys(graph: GraphWriter, keys: Labelled, front: Axes): Labelled {
  if (graph.pick(2) === 0) return arrange(graph, keys, [...front, ['d'], ['T']]);
  const rows = arrange(graph, keys, [...front, ['T'], ['d']]);
  const rank = rows.axes.length;
  return transpose(graph, rows, [...front.map((_, at) => at), rank - 1, rank - 2]);
}

/** Factors on queries and keys before the product. */
function scalesBefore(
  graph: GraphWriter,
  plan: AttentionCase,
  queries: Labelled,
): { query: string | undefined; key: string | undefined } {
  const scale = scaleOf(plan);
  const constant = (factor: number) => graph.floats([], [factor]);
  switch (plan.scale) {
    case 'queries':
      return { query: constant(scale), key: undefined };
    case 'keys':
      return { query: undefined, key: constant(scale) };
    case 'both':
      return { query: constant(Math.sqrt(scale)), key: constant(Math.sqrt(scale)) };
    case 'by shape': {
      // TorchScript's scaled_dot_product_attention takes the width from a shape
      const size = sizeFrom(graph, queries, ['d']) ?? graph.ints([plan.width]);
      const width = graph.op('Cast', [size], { attributes: `to = ${plan.half ? 10 : 1}` });
      const factor = graph.op('Div', [graph.floats([1], [1]), graph.op('Sqrt', [width])]);
      const root = graph.op('Sqrt', [factor]);
      return { query: root, key: root };
    }
    default:
      return { query: undefined, key: undefined };
  }
}

const LETTERS: Record<string, string> = { B: 'b', S: 'i', T: 'j', d: 'd', e: 'e' };

function einsum(graph: GraphWriter, operands: readonly Labelled[], axes: Axes): string {
  const term = (each: Axes) => each.map((axis) => LETTERS[axis.join()] ?? 'h').join('');
  const equation = `${operands.map((value) => term(value.axes)).join(',')}->${term(axes)}`;
  return graph.op(
    'Einsum',
    operands.map(({ name }) => name),
    { attributes: `equation = "${equation}"` },
  );
}

function attend(graph: GraphWriter, plan: AttentionCase, map: Labelled, values: Labelled): Labelled {
  const heads = headLabels(plan);
  const shared = plan.core === '5d' || broadcasts(graph, plan);
  const V = operand(graph, plan, values, !shared);
  const valueHeads = shared ? ['g'] : heads;
  const rows = map.axes.slice(0, -1);
  if (plan.core === 'Einsum') {
    const order: Axes = graph.pick(2) === 0 ? [['B'], heads, ['T'], ['e']] : [['B'], ['T'], heads, ['e']];
    const result: Axes = graph.pick(2) === 0 ? [['B'], heads, ['S'], ['e']] : [['B'], ['S'], heads, ['e']];
    const right = arrange(graph, V, order);
    return { ...right, axes: result, name: einsum(graph, [map, right], result) };
  }
  if (plan.product === 'values first') {
    const left = arrange(graph, V, [['B'], valueHeads, ['e'], ['T']]);
    const name = graph.op('MatMul', [left.name, transpose(graph, map, [0, 1, 3, 2]).name]);
    return { ...map, axes: [['B'], heads, ['e'], ['S']], name };
  }
  const front: Axes = plan.core === '3d' ? [['B', ...heads]] : [['B'], valueHeads];
  const right = arrange(graph, V, [...front, ['T'], ['e']]);
  const operandName = plan.core === '5d' ? graph.op('Unsqueeze', [right.name, graph.ints([2])]) : right.name;
  return { ...map, axes: [...rows, ['e']], name: graph.op('MatMul', [map.name, operandName]) };
}
