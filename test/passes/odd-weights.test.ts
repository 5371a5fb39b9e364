/** Weights of a type that cannot be trained, or of a shape that does not fit, are a reason and never an internal error. */
import { type RewriteFileSettings, rewriteModel } from '../../src/api/rewrite';
import { parseText } from '../../src/ir/text';
import { dataTypeName, derive, encode, memoryBytes } from '../../src/onnx';
import { byteSize, DataType } from '../../src/onnx/data-types';
import { ATTENTION } from '../support/attention-text';
import { randomFill } from '../support/fixtures';
import { graphOf, modelPath, thrownBy } from '../support/models';

const packed = `<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
g (float[B, S, 8] x) => (float[B, S, 8] y) <float[8, 24] "attn.qkv.weight" = {...}, float[24] "attn.qkv.bias" = {...}> {
  ["attn"] y = com.microsoft.Attention <num_heads = 2> (x, "attn.qkv.weight", "attn.qkv.bias")
}`;
const operator = (
  name: string,
  bias: number,
) => `<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
g (float[B, S, 8] x) => (float[B, S, 8] y) <
  float[8, 8] "attn.q.weight" = {...}, float[8, 8] "attn.k.weight" = {...}, float[8, 8] "attn.v.weight" = {...}, float[${bias}] "attn.bias" = {...}
> {
  q = MatMul (x, "attn.q.weight")
  k = MatMul (x, "attn.k.weight")
  v = MatMul (x, "attn.v.weight")
  ["attn"] y = com.microsoft.${name} <num_heads = 2, kv_num_heads = 2> (q, k, v, "attn.bias")
}`;

const texts = {
  'a packed operator': { text: packed, names: ['attn.qkv.weight', 'attn.qkv.bias'] },
  'an operator with biases': {
    text: operator('MultiHeadAttention', 24),
    names: ['attn.q.weight', 'attn.bias'],
  },
  'written out': { text: ATTENTION, names: ['layers.0.attn.q_proj.weight', 'layers.0.attn.k_proj.weight'] },
};
const modes: readonly RewriteFileSettings[] = [
  {},
  { init: 'mirror' },
  { preset: 'v2' },
  { splitHeads: true },
];

/** The model with one weight in another type or shape. */
function withWeight(
  text: string,
  name: string,
  change: { dataType?: number; dims?: readonly number[] },
): string {
  const proto = parseText(text, { fill: randomFill(1) });
  const graph = graphOf(proto);
  const initializer = graph.initializer.map((tensor) => {
    if (tensor.name !== name) return tensor;
    const dims = change.dims?.map(BigInt) ?? tensor.dims;
    const dataType = change.dataType ?? tensor.dataType ?? 0;
    const count = dims.reduce((all, dim) => all * Number(dim), 1);
    const bytes = byteSize(dataType, count);
    const texts = bytes === undefined ? Array<Uint8Array>(count).fill(Buffer.from('one')) : [];
    const data = { floatData: [], int32Data: [], int64Data: [], doubleData: [], uint64Data: [] };
    const raw = bytes === undefined ? undefined : memoryBytes(new Uint8Array(bytes));
    return derive(tensor, { ...data, dims, dataType, stringData: texts, rawData: raw });
  });
  return modelPath(encode('ModelProto', derive(proto, { graph: derive(graph, { initializer }) })).read());
}

const cases = Object.entries(texts).flatMap(([what, { text, names }]) =>
  names.map((name) => ({ what, text, name })),
);
const FLOATS: readonly number[] = [DataType.FLOAT, DataType.DOUBLE, DataType.FLOAT16, DataType.BFLOAT16];

describe.each(cases)('$what: $name', ({ text, name }) => {
  const others = Object.values(DataType).filter((type) => !FLOATS.includes(type));

  test.each(others.map((dataType) => [dataTypeName(dataType), dataType] as const))('%s', (_, dataType) => {
    const model = withWeight(text, name, { dataType });
    for (const mode of modes) {
      const { exitCode, message } = thrownBy(() => rewriteModel(model, mode));
      expect([2, 3]).toContain(exitCode);
      expect(message.split('\n')).toHaveLength(1);
    }
  });

  test.each([[[]], [[4]], [[2, 3, 4]], [[1, 8, 24]], [[0]], [[24, 1]]])('of shape %j', (dims) => {
    const model = withWeight(text, name, { dims });
    for (const mode of modes) {
      // What can be read in another way may be rewritten; anything else is a reason.
      try {
        rewriteModel(model, mode);
      } catch (error) {
        expect(
          thrownBy(() => {
            throw error;
          }).exitCode,
        ).not.toBe(70);
      }
    }
  });
});
