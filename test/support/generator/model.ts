/** A random model: one or two attentions in residual layers, what it is fed, and what it must give. */

import type { Fill } from '../../../src/ir/text';
import { DataType } from '../../../src/onnx';
import { encodeFloats } from '../../../src/onnx/floats';
import { tensorFromBytes } from '../../../src/verify/tensor';
import { intTensor, type Tensor, type Tensors } from '../run';
import type { Expected } from './expected';
import { type Axes, GraphWriter, type Labelled } from './graph-writer';
import { arrange } from './layouts';
import { type CaseNumbers, numbersFor } from './numbers';
import { writeOperator } from './operators';
import { type AttentionCase, headLabels, rotaryWidth, sizesOf } from './plan';
import { turning } from './positions';
import { linear, projectParts } from './projections';
import { cacheAxes, type LayerInputs, writeAttention } from './written-out';

export interface RandomModel {
  readonly plan: AttentionCase;
  readonly numbers: CaseNumbers;
  readonly text: string;
  readonly fill: Fill;
  /** Feeds, with second past keys behind the first where they are given: one [B, g, P, d] for each layer. */
  feeds(pastKeys2?: readonly Float64Array[]): Tensors;
  /** Expected results under the names of the outputs. */
  outputs(expected: Expected): Tensors;
}

export function randomModel(plan: AttentionCase): RandomModel {
  const numbers = numbersFor(plan);
  const sizes = { ...sizesOf(plan), '3': 3, 'r+2': plan.group + 2 };
  const { g = 0, r = 0, d = 0, e = 0 } = sizesOf(plan);
  const graph = new GraphWriter({
    sizes: { ...sizes, kv: g * (d + e), qkv: g * r * d + g * (d + e) },
    dynamic: new Set(plan.dynamic ? ['B', 'S', 'T', 'P'] : []),
    opset: plan.opset,
    float: plan.half ? 'float16' : 'float',
    numbers: plan.numbers,
  });
  writeGraph(graph, plan, numbers);
  const order: Axes = plan.sequenceFirst ? [['S'], ['B'], ['M']] : [['B'], ['S'], ['M']];
  const { text, fill } = graph.finish();
  const float = (data: Float64Array, from: Axes, to: Axes) => floats(plan, data, from, to, sizes);
  return {
    plan,
    numbers,
    text,
    fill,
    feeds: (second) => feedsOf(plan, numbers, second, float),
    outputs: (expected) => {
      const keys: Axes = [['B'], ['g'], ['T'], ['d']];
      const result: Record<string, Tensor> = { y: float(expected.y, [['B'], ['S'], ['M']], order) };
      expected.layers.forEach((layer, index) => {
        if (plan.cache !== 'none') {
          const both = layer.keys2 ? sideBySide(plan, layer.keys, layer.keys2) : layer.keys;
          result[`present.${index}.key`] = float(both, keys, cacheAxes(plan, 'd', 'T'));
          result[`present.${index}.value`] = float(
            layer.values,
            [['B'], ['g'], ['T'], ['e']],
            cacheAxes(plan, 'e', 'T'),
          );
        }
        if (plan.showsMap)
          result[`map.${index}`] = float(
            layer.map,
            [['B'], ['h'], ['S'], ['T']],
            [['B'], ['h'], ['S'], ['T']],
          );
      });
      return result;
    },
  };
}

function writeGraph(graph: GraphWriter, plan: AttentionCase, numbers: CaseNumbers): void {
  const order = (row: string): Axes => (plan.sequenceFirst ? [[row], ['B'], ['M']] : [['B'], [row], ['M']]);
  let x = graph.input('x', order('S'));
  const memory = plan.memory > 0 ? graph.input('memory', order('T')) : undefined;
  const rotates = rotaryWidth(plan) > 0;
  const fedPositions = rotates && plan.positions !== 'stored';
  const positions = fedPositions ? graph.input('position_ids', [['B'], ['S']], 'int64') : undefined;
  const rows: Axes = [['B'], [], ['S'], ['T']];
  const boolean = plan.mask === 'boolean' || plan.mask === 'hidden rows';
  const mask =
    boolean || plan.mask === 'additive' ? graph.input('mask', rows, boolean ? 'bool' : undefined) : undefined;
  const keys =
    plan.mask.includes('padding') && plan.form === 'written out'
      ? graph.input('attention_mask', [['B'], ['T']], 'int64')
      : undefined;
  const layers = numbers.layers.map((_, index) => ({
    pastKeys: pastInput(graph, plan, `past.${index}.key`, 'd'),
    pastValues: pastInput(graph, plan, `past.${index}.value`, 'e'),
  }));
  numbers.layers.forEach((layer, index) => {
    const path = `layers.${index}.attn`;
    const inputs: LayerInputs = {
      mask,
      keys,
      turning: rotates ? turning(graph, plan, positions) : undefined,
      pastKeys: layers[index]?.pastKeys,
      pastValues: layers[index]?.pastValues,
    };
    const source = memory ?? x;
    const written =
      plan.form === 'written out'
        ? writeAttention(graph, plan, layer, path, projectParts(graph, plan, layer, path, x, source), inputs)
        : writeOperator(graph, plan, layer, path, x, source, inputs);
    const merged = arrange(graph, written.attended, [...x.axes.slice(0, -1), [...headLabels(plan), 'e']]);
    const projected = linear(graph, plan, merged, `${path}.o_proj`, layer.out, ['M']);
    const last = index === numbers.layers.length - 1;
    const name = graph.op('Add', [x.name, projected.name], last ? { as: 'y' } : {});
    x = { ...x, name };
    if (plan.cache !== 'none') {
      graph.output(shown(graph, written.presentKeys, `present.${index}.key`));
      graph.output(shown(graph, written.presentValues, `present.${index}.value`));
    }
    if (plan.showsMap && written.map) graph.output(shown(graph, written.map, `map.${index}`));
  });
  graph.output(x);
}

function pastInput(
  graph: GraphWriter,
  plan: AttentionCase,
  name: string,
  width: 'd' | 'e',
): Labelled | undefined {
  return plan.past > 0 ? graph.input(quoted(name), cacheAxes(plan, width, 'P')) : undefined;
}

const quoted = (name: string) => `"${name}"`;

function shown(graph: GraphWriter, value: Labelled, name: string): Labelled {
  return { ...value, name: graph.op('Identity', [value.name], { as: quoted(name) }) };
}

/** Numbers as a tensor of the model's own type, with axes in another order. Labels without a size count as one axis. */
function floats(
  plan: AttentionCase,
  data: Float64Array,
  from: Axes,
  to: Axes,
  sizes: Readonly<Record<string, number>>,
): Tensor {
  const known = from.map((axis) => sizes[axis.join()] ?? Number.NaN);
  const rest = data.length / known.filter((size) => !Number.isNaN(size)).reduce((all, size) => all * size, 1);
  // heads of keys may have been doubled, those of maps may be halved
  const doubled = from.findIndex((axis) => axis.join() === 'g' || axis.join() === 'h');
  const shape = known.map((size, at) => (at === doubled ? (Number.isNaN(size) ? rest : size * rest) : size));
  const perm = to.map((axis) => from.findIndex((other) => other.join() === axis.join()));
  const result = permuted(data, shape, perm);
  const bytes = encodeFloats(plan.half ? DataType.FLOAT16 : DataType.FLOAT, Float32Array.from(result));
  return tensorFromBytes(
    plan.half ? DataType.FLOAT16 : DataType.FLOAT,
    perm.map((axis) => shape[axis] ?? 0),
    bytes,
  );
}

function permuted(data: Float64Array, shape: readonly number[], perm: readonly number[]): Float64Array {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((all, size) => all * size, 1));
  const sizes = perm.map((axis) => shape[axis] ?? 0);
  return Float64Array.from({ length: data.length }, (_, at) => {
    let rest = at;
    let source = 0;
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      const size = sizes[axis] ?? 1;
      source += (rest % size) * (strides[perm[axis] ?? 0] ?? 0);
      rest = Math.floor(rest / size);
    }
    return data[source] ?? Number.NaN;
  });
}

/** [B, g, rows, d] twice as [B, 2g, rows, d]. */
function sideBySide(plan: AttentionCase, first: Float64Array, second: Float64Array): Float64Array {
  const count = first.length / plan.batch;
  return Float64Array.from(
    Array.from({ length: plan.batch }, (_, b) => [
      ...first.subarray(b * count, (b + 1) * count),
      ...second.subarray(b * count, (b + 1) * count),
    ]).flat(),
  );
}

function feedsOf(
  plan: AttentionCase,
  numbers: CaseNumbers,
  second: readonly Float64Array[] | undefined,
  float: (data: Float64Array, from: Axes, to: Axes) => Tensor,
): Tensors {
  const { B = 0, S = 0, T = 0, P = 0 } = sizesOf(plan);
  const rows = (row: string): Axes => [['B'], [row], ['M']];
  const order = (row: string): Axes => (plan.sequenceFirst ? [[row], ['B'], ['M']] : rows(row));
  const feeds: Record<string, Tensor> = { x: float(numbers.x, rows('S'), order('S')) };
  if (plan.memory > 0) feeds['memory'] = float(numbers.memory, rows('T'), order('T'));
  const ids = Array.from({ length: B * S }, (_, i) => P + (i % S));
  feeds['position_ids'] = intTensor([B, S], ids);
  if (plan.mask === 'boolean' || plan.mask === 'hidden rows') {
    const seen = Uint8Array.from(numbers.mask, (value) => (value === 0 ? 1 : 0));
    feeds['mask'] = { dtype: DataType.BOOL, shape: [B, 1, S, T], data: seen };
  } else {
    const bias = float(numbers.mask, [['B'], ['S'], ['T']], [['B'], ['S'], ['T']]);
    feeds['mask'] = { ...bias, shape: [B, 1, S, T] };
  }
  const seen = Array.from({ length: B * T }, (_, i) =>
    i % T < T - (numbers.padding[Math.floor(i / T)] ?? 0) ? 1 : 0,
  );
  feeds['attention_mask'] = intTensor([B, T], seen);
  feeds['padding'] = { dtype: DataType.INT32, shape: [B, T], data: Int32Array.from(seen) };
  feeds['lengths'] = { dtype: DataType.INT32, shape: [B], data: new Int32Array(B).fill(T - 1) };
  feeds['total'] = { dtype: DataType.INT32, shape: [], data: Int32Array.of(T) };
  if (plan.past === 0) return feeds;
  numbers.layers.forEach((layer, index) => {
    const negative = second?.[index];
    const keys = negative ? sideBySide(plan, layer.pastKeys, negative) : layer.pastKeys;
    feeds[`past.${index}.key`] = float(keys, [['B'], ['g'], ['P'], ['d']], cacheAxes(plan, 'd', 'P'));
    feeds[`past.${index}.value`] = float(
      layer.pastValues,
      [['B'], ['g'], ['P'], ['e']],
      cacheAxes(plan, 'e', 'P'),
    );
  });
  return feeds;
}
