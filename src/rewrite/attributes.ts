import { type AttributeProto, AttributeType, EMPTY_ATTRIBUTE, type TensorProto } from '../onnx';

/** Makers of attributes. */
export const attribute = {
  int: (name: string, value: number): AttributeProto => ({
    ...EMPTY_ATTRIBUTE,
    name,
    type: AttributeType.INT,
    i: BigInt(value),
  }),
  ints: (name: string, values: readonly number[]): AttributeProto => ({
    ...EMPTY_ATTRIBUTE,
    name,
    type: AttributeType.INTS,
    ints: values.map(BigInt),
  }),
  float: (name: string, value: number): AttributeProto => ({
    ...EMPTY_ATTRIBUTE,
    name,
    type: AttributeType.FLOAT,
    f: value,
  }),
  tensor: (name: string, value: TensorProto): AttributeProto => ({
    ...EMPTY_ATTRIBUTE,
    name,
    type: AttributeType.TENSOR,
    t: value,
  }),
  /** Inside a function: the value that the caller gives under `of`. */
  reference: (name: string, type: number, of: string): AttributeProto => ({
    ...EMPTY_ATTRIBUTE,
    name,
    type,
    refAttrName: of,
  }),
};
