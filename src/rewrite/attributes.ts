import { type AttributeProto, AttributeType, type TensorProto } from '../onnx';

const EMPTY = {
  floats: [],
  ints: [],
  strings: [],
  tensors: [],
  graphs: [],
  sparseTensors: [],
  typeProtos: [],
} as const;

/** Makers of attributes. */
export const attribute = {
  int: (name: string, value: number): AttributeProto => ({
    ...EMPTY,
    name,
    type: AttributeType.INT,
    i: BigInt(value),
  }),
  ints: (name: string, values: readonly number[]): AttributeProto => ({
    ...EMPTY,
    name,
    type: AttributeType.INTS,
    ints: values.map(BigInt),
  }),
  float: (name: string, value: number): AttributeProto => ({
    ...EMPTY,
    name,
    type: AttributeType.FLOAT,
    f: value,
  }),
  tensor: (name: string, value: TensorProto): AttributeProto => ({
    ...EMPTY,
    name,
    type: AttributeType.TENSOR,
    t: value,
  }),
  /** Inside a function: the value that the caller gives under `of`. */
  reference: (name: string, type: number, of: string): AttributeProto => ({
    ...EMPTY,
    name,
    type,
    refAttrName: of,
  }),
};
