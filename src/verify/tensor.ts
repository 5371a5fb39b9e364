/** Tensors in memory as the checks pass them around: plain data, no runtime's own class. */
import { byteSize, DataType, dataTypeName } from '../onnx/data-types';
import { decodeBfloats, decodeHalfs, isFloatType } from '../onnx/floats';

/**
 * The numbers of a tensor in row-major order: float16 and bfloat16 as bit patterns in a Uint16Array, bool as 0 and 1 in
 * a Uint8Array, 64-bit integers as bigint.
 */
export type TensorData =
  | Float32Array
  | Float64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | BigInt64Array
  | BigUint64Array;

export interface Tensor {
  readonly dtype: DataType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** A tensor's place in a model: its name, element type, and sizes, of which some are symbols. */
export interface TensorDescription {
  readonly name: string;
  readonly dtype: DataType;
  readonly shape: readonly (number | string)[];
}

/** How many elements a shape has; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** A tensor of zeros. */
export function zeros(dtype: DataType, shape: readonly number[]): Tensor {
  return { dtype, shape, data: arrayOver(dtype, new ArrayBuffer(wholeBytes(dtype, elementCount(shape)))) };
}

/**
 * A tensor from little-endian row-major bytes, which are copied.
 * @throws Error where the bytes do not fit the shape or the type has no typed array
 */
export function tensorFromBytes(dtype: DataType, shape: readonly number[], bytes: Uint8Array): Tensor {
  const size = wholeBytes(dtype, elementCount(shape));
  if (bytes.length !== size)
    throw new Error(`${bytes.length} bytes for [${shape}] of ${dataTypeName(dtype)}`);
  const copy = new ArrayBuffer(size);
  new Uint8Array(copy).set(bytes);
  return { dtype, shape, data: arrayOver(dtype, copy) };
}

/** The same numbers in float64: exact, save for 64-bit integers beyond 2^53. */
export function toFloat64(tensor: Tensor): Float64Array {
  const { dtype, data } = tensor;
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float64Array.from(data, Number);
  if (data instanceof Uint16Array && dtype === DataType.FLOAT16) return new Float64Array(decodeHalfs(data));
  if (data instanceof Uint16Array && dtype === DataType.BFLOAT16)
    return new Float64Array(decodeBfloats(data));
  return new Float64Array(data);
}

/** Whether a tensor holds floats, of whatever width. */
export function isFloatTensor({ dtype }: Tensor): boolean {
  return isFloatType(dtype);
}

function wholeBytes(dtype: DataType, count: number): number {
  const size = byteSize(dtype, count);
  if (size === undefined) throw new Error(`${dataTypeName(dtype)} has no fixed size`);
  return size;
}

/**
 * The numbers in a buffer, which is not copied.
 * @throws Error where the type has no typed array
 */
export function arrayOver(dtype: DataType, buffer: ArrayBuffer): TensorData {
  switch (dtype) {
    case DataType.FLOAT:
      return new Float32Array(buffer);
    case DataType.DOUBLE:
      return new Float64Array(buffer);
    case DataType.BOOL:
    case DataType.UINT8:
      return new Uint8Array(buffer);
    case DataType.INT8:
      return new Int8Array(buffer);
    case DataType.FLOAT16:
    case DataType.BFLOAT16:
    case DataType.UINT16:
      return new Uint16Array(buffer);
    case DataType.INT16:
      return new Int16Array(buffer);
    case DataType.UINT32:
      return new Uint32Array(buffer);
    case DataType.INT32:
      return new Int32Array(buffer);
    case DataType.UINT64:
      return new BigUint64Array(buffer);
    case DataType.INT64:
      return new BigInt64Array(buffer);
    default:
      throw new Error(`no typed array for ${dataTypeName(dtype)}`);
  }
}
