import { load } from '../../src/ir';
import { readModel } from '../../src/onnx';
import { DataType } from '../../src/onnx/data-types';
import { precisionOf, toleranceWithin } from '../../src/verify/precision';
import { TOLERANCES } from '../../src/verify/tolerance';
import { openExport } from '../support/fixtures';
import { textModel } from '../support/models';

test.each([
  ['bert-enc-ts14-eager', 'float32'],
  ['bert-enc-dy18-sdpa+external', 'float32'],
  ['bert-enc-ts14-eager+fp16', 'float16'],
  ['llama-past-dy18-sdpa+fp16', 'float16'],
  ['gpt2-dec-ts17-sdpa+int8', 'quantized'],
  ['llama-dec-ts17-sdpa+q4', 'quantized'],
  ['ms-attention-packed', 'float32'],
])('%s computes in %s', (name, precision) => {
  expect(precisionOf(load(readModel(openExport(name).model)))).toBe(precision);
});

test('a transposed weight counts, an embedding of another type does not', () => {
  const text = (type: string, table: string) => `<ir_version: 8, opset_import: ["" : 17]>
    g (int64[N] i, ${type}[N, 2] x) => (${type}[N, 3] y) <${table}[4, 2] e = {...}, ${type}[3, 2] w = {...}> {
      t = Gather (e, i)
      v = Transpose (w)
      y = MatMul (x, v)
    }`;
  expect(precisionOf(textModel(text('bfloat16', 'float')))).toBe('bfloat16');
  expect(precisionOf(textModel(text('double', 'float16')))).toBe('float64');
  expect(precisionOf(textModel(text('float', 'float16')))).toBe('float32');
});

test('a float32 output of a float16 model is as good as float16; integers are exact in every model', () => {
  expect(toleranceWithin('float16', DataType.FLOAT)).toBe(TOLERANCES.float16);
  expect(toleranceWithin('float32', DataType.FLOAT)).toBe(TOLERANCES.float32);
  expect(toleranceWithin('float32', DataType.FLOAT16)).toBe(TOLERANCES.float16);
  expect(toleranceWithin('quantized', DataType.INT64)).toBe(TOLERANCES.exact);
});
