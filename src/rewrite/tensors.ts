import { type ByteRange, byteSize, DataType, EMPTY_TENSOR, memoryBytes, type TensorProto } from '../onnx';
import { encodeFloats, isFloatType } from '../onnx/floats';

/** A constant of the given bytes. */
export function makeTensor(dataType: number, shape: readonly number[], data: ByteRange): TensorProto {
  const count = shape.reduce((all, dim) => all * dim, 1);
  const expected = byteSize(dataType, count);
  if (expected !== data.length)
    throw new Error(`a tensor of ${count} elements needs ${expected} bytes, not ${data.length}`);
  return { ...EMPTY_TENSOR, dims: shape.map(BigInt), dataType, rawData: data };
}

/** An int64 vector, as shape operators take it. */
export function int64Vector(values: readonly number[]): TensorProto {
  const data = BigInt64Array.from(values, BigInt);
  return makeTensor(DataType.INT64, [values.length], memoryBytes(new Uint8Array(data.buffer)));
}

/** A floating-point constant in the type asked for. */
export function floatTensor(dataType: number, shape: readonly number[], values: Float32Array): TensorProto {
  if (!isFloatType(dataType)) throw new Error(`${dataType} is no floating-point type`);
  return makeTensor(dataType, shape, memoryBytes(encodeFloats(dataType, values)));
}
