/** Shapes of the operators that ONNX Runtime fuses, of every output, against those of a run: no value_info is needed. */
import { elementType, Shapes } from '../../src/analyse';
import { randomFill } from '../support/fixtures';
import { textBytes, textModel, valueNamed } from '../support/models';
import { floatTensor, runModel } from '../support/run';

/** x is [2, 3, 16]: 4 heads of width 4. */
const x = floatTensor([2, 3, 16], randomFill(1)('x', 96));

interface Case {
  readonly nodes: string;
  readonly constants?: string;
  readonly opset?: number;
  /** Outputs to look at. Default y. */
  readonly outputs?: readonly string[];
  /** What y is, by the operator's documentation, where ONNX Runtime cannot run it on the CPU. */
  readonly documented?: readonly number[];
}

const ms = 'com.microsoft';
const operators: Record<string, Case> = {
  'MultiHeadAttention, values wider than queries': {
    nodes: `y, pk, pv = ${ms}.MultiHeadAttention <num_heads = 4> (x, x, wide)`,
    constants: 'float[2, 3, 24] wide = {...}',
    outputs: ['y', 'pk', 'pv'],
  },
  'MultiHeadAttention, all in one': {
    nodes: `y = ${ms}.MultiHeadAttention <num_heads = 4> (packed)`,
    constants: 'float[2, 3, 4, 3, 4] packed = {...}',
    documented: [2, 3, 16],
  },
  'MultiHeadAttention, keys and values in one': {
    nodes: `y = ${ms}.MultiHeadAttention <num_heads = 4> (x, packed)`,
    constants: 'float[2, 5, 4, 2, 4] packed = {...}',
    documented: [2, 3, 16],
  },
  'MultiHeadAttention, with a past': {
    nodes: `y, pk, pv = ${ms}.MultiHeadAttention <num_heads = 4> (x, x, x, "", "", "", past, past)`,
    constants: 'float[2, 4, 2, 4] past = {...}',
    outputs: ['y', 'pk', 'pv'],
  },
  GroupQueryAttention: {
    nodes: `y, pk, pv = ${ms}.GroupQueryAttention <num_heads = 2, kv_num_heads = 1> (x, few, few, "", "", last, total)`,
    constants: 'float[2, 3, 8] few = {...}, int32[2] last = {2, 2}, int32 total = {3}',
    outputs: ['y', 'pk', 'pv'],
  },
  'GroupQueryAttention, all in one': {
    nodes: `y, pk, pv = ${ms}.GroupQueryAttention <num_heads = 2, kv_num_heads = 1> (packed, "", "", "", "", last, total)`,
    constants: 'float[2, 3, 32] packed = {...}, int32[2] last = {2, 2}, int32 total = {3}',
    outputs: ['y', 'pk', 'pv'],
  },
  'Attention of com.microsoft': {
    nodes: `y, present = ${ms}.Attention <num_heads = 4> (x, w, b)`,
    constants: 'float[16, 48] w = {...}, float[48] b = {...}',
    outputs: ['y', 'present'],
  },
  'Attention of com.microsoft, values of another width': {
    nodes: `y = ${ms}.Attention <num_heads = 4, qkv_hidden_sizes = [16, 16, 8]> (x, w, b)`,
    constants: 'float[16, 40] w = {...}, float[40] b = {...}',
  },
  'Attention, heads on the last axis': {
    nodes: 'y, pk, pv, s = Attention <q_num_heads = 4, kv_num_heads = 2> (x, few, wide)',
    constants: 'float[2, 3, 8] few = {...}, float[2, 3, 10] wide = {...}',
    opset: 23,
    outputs: ['y'],
  },
  'Attention, heads apart, with a past': {
    nodes: 'y, pk, pv = Attention (q, k, k, "", past, past)',
    constants: 'float[2, 4, 3, 4] q = {...}, float[2, 2, 3, 4] k = {...}, float[2, 2, 5, 4] past = {...}',
    opset: 23,
    outputs: ['y', 'pk', 'pv'],
  },
  'SkipLayerNormalization, and the sum': {
    nodes: `y, mean, deviation, sum = ${ms}.SkipLayerNormalization (x, x, g)`,
    constants: 'float[16] g = {...}',
    outputs: ['y', 'sum'],
  },
  'SkipSimplifiedLayerNormalization, and the sum': {
    nodes: `y, mean, deviation, sum = ${ms}.SkipSimplifiedLayerNormalization (x, x, g)`,
    constants: 'float[16] g = {...}',
    outputs: ['y', 'sum'],
  },
  EmbedLayerNormalization: {
    nodes: `y, index = ${ms}.EmbedLayerNormalization (ids, "", words, places, "", g, g, mask)`,
    constants:
      'int32[2, 3] ids = {0, 1, 2, 3, 4, 5}, int32[2, 3] mask = {1, 1, 1, 1, 1, 0}, float[7, 16] words = {...}, float[5, 16] places = {...}, float[16] g = {...}',
    outputs: ['y', 'index'],
  },
  RotaryEmbedding: {
    nodes: `y = ${ms}.RotaryEmbedding <num_heads = 4> (x, at, cos, cos)`,
    constants: 'int64[2, 3] at = {0, 1, 2, 0, 1, 2}, float[8, 2] cos = {...}',
  },
  'BiasGelu, FastGelu, QuickGelu': {
    nodes: `a = ${ms}.BiasGelu (x, b)\nc = ${ms}.FastGelu (a)\ny = ${ms}.QuickGelu (c)`,
    constants: 'float[16] b = {...}',
  },
  'FusedMatMul, transposed': {
    nodes: `y = ${ms}.FusedMatMul <transB = 1, alpha = 0.5> (x, w)`,
    constants: 'float[24, 16] w = {...}',
  },
};

test.each(Object.entries(operators))(
  '%s',
  async (_what, { nodes, constants = '', opset = 17, outputs = ['y'], documented }) => {
    const named = outputs
      .map((name) => `float[${name}] ${name}`)
      .join(', ')
      .replace('float[index]', 'int32[index]');
    const text = `<ir_version: 8, opset_import: ["" : ${opset}, "${ms}" : 1]>
g (float[2, 3, 16] x) => (${named}) <${constants}> {
  ${nodes}
}`;
    const model = textModel(text);
    for (const value of model.graph.outputs) model.graph.setType(value, undefined);
    const given: Readonly<Record<string, { dtype: number; shape: readonly number[] }>> = documented
      ? { y: { dtype: 1, shape: documented } }
      : await runModel(textBytes(text), { x }, { outputs });
    const shapes = new Shapes(model);
    for (const name of outputs) {
      const value = valueNamed(model, name);
      const sizes = shapes.shape(value)?.map((dim) => dim.value);
      // How long a present of GroupQueryAttention is, its past decides.
      expect(sizes?.map((size, axis) => size ?? given[name]?.shape[axis])).toEqual(given[name]?.shape);
      expect(elementType(value)).toBe(given[name]?.dtype);
    }
  },
);
