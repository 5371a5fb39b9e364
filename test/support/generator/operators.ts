/** Attention as one operator of ONNX or of ONNX Runtime. */
import type { Axes, GraphWriter, Labelled } from './graph-writer';
import { arrange, repeatHeads } from './layouts';
import { type LayerNumbers, stackedNumbers } from './numbers';
import {
  type AttentionCase,
  CAP,
  headLabels,
  hiddenScore,
  isInterleaved,
  rotaryWidth,
  scaleOf,
} from './plan';
import { tableOf } from './positions';
import { type Parts, projectParts } from './projections';
import { type LayerInputs, side, type WrittenAttention } from './written-out';

type Written = Omit<WrittenAttention, 'map'> & { readonly map?: Labelled };

export function writeOperator(
  graph: GraphWriter,
  plan: AttentionCase,
  layer: LayerNumbers,
  path: string,
  x: Labelled,
  memory: Labelled,
  inputs: LayerInputs,
): Written {
  const batchFirst = (value: Labelled) =>
    arrange(graph, value, [['B'], [value.axes.flat().includes('S') ? 'S' : 'T'], ['M']]);
  const [rows, keys] = [batchFirst(x), memory === x ? batchFirst(x) : batchFirst(memory)];
  switch (plan.form) {
    case 'Attention':
      return attention(graph, plan, layer, path, rows, keys, inputs);
    case 'MultiHeadAttention':
      return multiHeadAttention(graph, plan, layer, path, rows, keys, inputs);
    case 'GroupQueryAttention':
      return groupQueryAttention(graph, plan, layer, path, rows, inputs);
    case 'packed Attention':
      return packedAttention(graph, plan, layer, path, rows, inputs);
    default:
      throw new Error(`${plan.form} is no operator`);
  }
}

/** Projections with norms and positions. */
function operands(
  graph: GraphWriter,
  plan: AttentionCase,
  layer: LayerNumbers,
  path: string,
  x: Labelled,
  memory: Labelled,
  inputs: LayerInputs,
): Parts {
  const { q, k, v } = projectParts(graph, plan, layer, path, x, memory);
  return {
    q: side(graph, plan, q, headLabels(plan), `${path}.q_norm`, layer.queryNorm, inputs.turning),
    k: side(graph, plan, k, ['g'], `${path}.k_norm`, layer.keyNorm, inputs.turning),
    v,
  };
}

const row = (value: Labelled) => value.axes.flat().find((label) => label === 'S' || label === 'T') ?? 'S';

/** The values that an operator gives, with the labels they have. */
function results(names: readonly string[], like: Labelled, attended: Axes): Written {
  const [output = '', keys = '', values = ''] = names;
  return {
    attended: { ...like, name: output, axes: attended },
    presentKeys: { ...like, name: keys, axes: [['B'], ['g'], ['T'], ['d']] },
    presentValues: { ...like, name: values, axes: [['B'], ['g'], ['T'], ['e']] },
  };
}

/** What a mask adds, [B, 1, S, T] or a shape that broadcasts to it. */
function additiveMask(graph: GraphWriter, plan: AttentionCase, { mask }: LayerInputs): string | undefined {
  if (!mask) return undefined;
  if (plan.mask === 'additive') return mask.name;
  return graph.op('Where', [mask.name, graph.floats([], [0]), graph.floats([], [hiddenScore(plan)])]);
}

/** True where the operator itself hides later keys; otherwise they are hidden by a bias. */
function causalBias(graph: GraphWriter, plan: AttentionCase): string {
  const { past, length } = plan;
  const total = past + length;
  const numbers = Array.from({ length: length * total }, (_, at) =>
    at % total <= past + Math.floor(at / total) ? 0 : hiddenScore(plan),
  );
  return graph.floats([1, 1, length, total], numbers);
}

function attention(
  graph: GraphWriter,
  plan: AttentionCase,
  layer: LayerNumbers,
  path: string,
  x: Labelled,
  memory: Labelled,
  inputs: LayerInputs,
): Written {
  const { q, k, v } = operands(graph, plan, layer, path, x, memory, inputs);
  const heads = headLabels(plan);
  // flat operands as they are projected: where ONNX Runtime does not know their sizes, it infers wrong ones of the result
  const flat = isFlat(q) && isFlat(k) && isFlat(v) && plan.linear !== 'Gemm' && graph.pick(4) > 0;
  const lay = (value: Labelled, labels: readonly string[], width: string) =>
    arrange(
      graph,
      value,
      flat ? [['B'], [row(value)], [...labels, width]] : [['B'], labels, [row(value)], [width]],
    );
  const repeats = plan.group > 1 && !flat && graph.pick(3) === 1 && plan.cache === 'none';
  const many = (value: Labelled) => (repeats ? repeatHeads(graph, value, heads) : value);
  const [Q, K, V] = [lay(q, heads, 'd'), many(lay(k, ['g'], 'd')), many(lay(v, ['g'], 'e'))];
  const causal = plan.mask === 'causal' && plan.memory === 0;
  const inside = causal && plan.past === 0;
  const mask =
    plan.mask === 'boolean' && graph.pick(2) === 0
      ? inputs.mask?.name
      : causal && !inside
        ? causalBias(graph, plan)
        : additiveMask(graph, plan, inputs);
  const attributes = [
    ...(plan.scale === 'by shape' ? [] : [`scale: float = ${scaleOf(plan)}`]),
    ...(inside ? ['is_causal = 1'] : []),
    ...(plan.cap ? [`softcap: float = ${CAP}`] : []),
    ...(flat ? [`q_num_heads = ${graph.size(heads)}`, `kv_num_heads = ${plan.kvHeads}`] : []),
  ].join(', ');
  const cached = plan.cache !== 'none';
  const past = [inputs.pastKeys?.name, inputs.pastValues?.name];
  const names = graph.ops('Attention', trimmed([Q.name, K.name, V.name, mask, ...past]), {
    attributes,
    outputs: cached ? 3 : 1,
  });
  return results(names, Q, flat ? [['B'], ['S'], [...heads, 'e']] : [['B'], heads, ['S'], ['e']]);
}

/** [B, rows, heads and widths] */
function isFlat({ axes }: Labelled): boolean {
  return axes.length === 3 && axes[0]?.join() === 'B';
}

/** Inputs without those that are missing at the end. */
function trimmed(inputs: readonly (string | undefined)[]): (string | undefined)[] {
  const last = inputs.findLastIndex((each) => each !== undefined);
  return inputs.slice(0, last + 1);
}

/** [B, rows, heads and widths] */
function flatHeads(graph: GraphWriter, value: Labelled, labels: readonly string[]): Labelled {
  return arrange(graph, value, [['B'], [row(value)], labels]);
}

function multiHeadAttention(
  graph: GraphWriter,
  plan: AttentionCase,
  layer: LayerNumbers,
  path: string,
  x: Labelled,
  memory: Labelled,
  inputs: LayerInputs,
): Written {
  const plain = plan.norm === 'none' && rotaryWidth(plan) === 0;
  const inside = plan.biases !== 'none' && plan.packing === 'separate' && plain && graph.pick(2) === 0;
  const bare = { ...layer, q: unbiased(layer.q), k: unbiased(layer.k), v: unbiased(layer.v) };
  const { q, k, v } = operands(graph, plan, inside ? bare : layer, path, x, memory, inputs);
  const heads = headLabels(plan);
  const Q = flatHeads(graph, q, [...heads, 'd']);
  const K = flatHeads(graph, k, ['g', 'd']);
  const V = flatHeads(graph, v, ['g', 'e']);
  const bias = inside ? packedBias(graph, plan, layer, path) : undefined;
  const causal = plan.mask === 'causal' && plan.memory === 0;
  const padding = plan.mask === 'padding' ? graph.shared32('padding', [['B'], ['T']]) : undefined;
  const added = causal && plan.past > 0 ? causalBias(graph, plan) : additiveMask(graph, plan, inputs);
  const names = graph.ops(
    'MultiHeadAttention',
    trimmed([Q.name, K.name, V.name, bias, padding, added, inputs.pastKeys?.name, inputs.pastValues?.name]),
    {
      domain: 'com.microsoft',
      outputs: plan.cache === 'none' ? 1 : 3,
      attributes: [
        `num_heads = ${graph.size(heads)}`,
        ...(plan.scale === 'by shape' ? [] : [`scale: float = ${scaleOf(plan)}`]),
        ...(causal && plan.past === 0 ? ['unidirectional = 1'] : []),
      ].join(', '),
    },
  );
  return results(names, Q, [['B'], ['S'], [...heads, 'e']]);
}

function unbiased(numbers: LayerNumbers['q']): LayerNumbers['q'] {
  return { ...numbers, bias: undefined };
}

/** [q | k | v] as one vector; zeros where a layer has none. */
function packedBias(graph: GraphWriter, plan: AttentionCase, layer: LayerNumbers, path: string): string {
  const { bias } = stackedNumbers([layer.q, layer.k, layer.v], plan.hidden);
  if (!bias) throw new Error('no bias');
  return graph.weight(`${path}.qkv.bias`, [bias.length], bias);
}

const LONGEST = 16;

function groupQueryAttention(
  graph: GraphWriter,
  plan: AttentionCase,
  layer: LayerNumbers,
  path: string,
  x: Labelled,
  inputs: LayerInputs,
): Written {
  const turnsInside = rotaryWidth(plan) === plan.width && graph.pick(2) === 0;
  const outside = turnsInside ? { ...inputs, turning: undefined } : inputs;
  const { q, k, v } = operands(graph, plan, layer, path, x, x, outside);
  const heads = headLabels(plan);
  const Q = ofKnownWidth(graph, flatHeads(graph, q, [...heads, 'd']));
  const K = ofKnownWidth(graph, flatHeads(graph, k, ['g', 'd']));
  const V = ofKnownWidth(graph, flatHeads(graph, v, ['g', 'e']));
  const width = plan.width / 2;
  const table = (f: (angle: number) => number) =>
    turnsInside ? graph.floats([LONGEST, width], tableOf(f, 0, LONGEST, plan.width, width)) : undefined;
  const lengths = graph.shared32('lengths', [['B']]);
  const total = graph.shared32('total', []);
  const names = graph.ops(
    'GroupQueryAttention',
    trimmed([
      ...[Q.name, K.name, V.name, inputs.pastKeys?.name, inputs.pastValues?.name, lengths, total],
      ...[table(Math.cos), table(Math.sin)],
    ]),
    {
      domain: 'com.microsoft',
      outputs: 3,
      attributes: [
        `num_heads = ${graph.size(heads)}, kv_num_heads = ${plan.kvHeads}`,
        ...(plan.scale === 'by shape' ? [] : [`scale: float = ${scaleOf(plan)}`]),
        ...(plan.mask === 'window' ? ['local_window_size = 2'] : []),
        ...(plan.cap ? [`softcap: float = ${CAP}`] : []),
        ...(turnsInside ? [`do_rotary = 1, rotary_interleaved = ${isInterleaved(plan) ? 1 : 0}`] : []),
      ].join(', '),
    },
  );
  return results(names, Q, [['B'], ['S'], [...heads, 'e']]);
}

/** ONNX Runtime takes keys of unknown rank for none, and queries for all three packed. */
function ofKnownWidth(graph: GraphWriter, value: Labelled): Labelled {
  return graph.like(value, 'Reshape', [graph.ints([0, 0, graph.size(value.axes[2] ?? [])])]);
}

function packedAttention(
  graph: GraphWriter,
  plan: AttentionCase,
  layer: LayerNumbers,
  path: string,
  x: Labelled,
  inputs: LayerInputs,
): Written {
  const { weight } = stackedNumbers([layer.q, layer.k, layer.v], plan.hidden);
  const out = weight.length / plan.hidden;
  const columns = Float64Array.from(
    weight,
    (_, i) => weight[(i % out) * plan.hidden + Math.floor(i / out)] ?? 0,
  );
  const stored = graph.weight(`${path}.qkv.weight`, [plan.hidden, out], columns);
  const bias = plan.biases === 'none' ? undefined : packedBias(graph, plan, layer, path);
  const padding = plan.mask === 'padding' ? graph.shared32('padding', [['B'], ['T']]) : undefined;
  const heads = headLabels(plan);
  const [q, v] = [graph.size([...heads, 'd']), graph.size(['g', 'e'])];
  const name = graph.op(
    'Attention',
    trimmed([x.name, stored, bias, padding, undefined, additiveMask(graph, plan, inputs)]),
    {
      domain: 'com.microsoft',
      attributes: [
        `num_heads = ${graph.size(heads)}`,
        ...(plan.scale === 'by shape' ? [] : [`scale: float = ${scaleOf(plan)}`]),
        ...(plan.mask === 'causal' ? ['unidirectional = 1'] : []),
        ...(plan.valueWidth === plan.width && graph.pick(2) === 0
          ? []
          : [`qkv_hidden_sizes = [${q}, ${q}, ${v}]`]),
      ].join(', '),
    },
  );
  return results([name], x, [['B'], ['S'], [...heads, 'e']]);
}
