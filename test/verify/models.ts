/** Small models for the tests of this folder, encoded by onnx-proto: independent of diffx's own codec. */
import { onnx } from 'onnx-proto';
import { DataType } from '../../src/onnx/data-types';
import type { TensorDescription } from '../../src/verify/tensor';

function valueInfo({ name, dtype, shape }: TensorDescription): onnx.IValueInfoProto {
  const dim = shape.map((size) => (typeof size === 'number' ? { dimValue: size } : { dimParam: size }));
  return { name, type: { tensorType: { elemType: dtype, shape: { dim } } } };
}

/** One node between the inputs and the outputs given; opset 17. */
export function oneNode(
  opType: string,
  inputs: readonly TensorDescription[],
  outputs: readonly TensorDescription[],
  attribute: onnx.IAttributeProto[] = [],
): Uint8Array {
  const node = {
    opType,
    name: `the_${opType}`,
    input: inputs.map(({ name }) => name),
    output: outputs.map(({ name }) => name),
    attribute,
  };
  return onnx.ModelProto.encode({
    irVersion: 8,
    opsetImport: [{ domain: '', version: 17 }],
    graph: { name: 'g', node: [node], input: inputs.map(valueInfo), output: outputs.map(valueInfo) },
  }).finish();
}

/** c = a + b, float of [n, 2]. */
export function addModel(dtype: DataType = DataType.FLOAT): Uint8Array {
  const tensor = (name: string) => ({ name, dtype, shape: ['n', 2] });
  return oneNode('Add', [tensor('a'), tensor('b')], [tensor('c')]);
}
