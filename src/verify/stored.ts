import { constantTensor } from '../analyse';
import type { Model, Value } from '../ir';
import { type DataType, derive, memoryBytes, type TensorProto } from '../onnx';
import { type Tensor, tensorFromBytes } from './tensor';

/** The tensor of a constant. */
export function storedTensor(model: Model, value: Value | undefined): Tensor | undefined {
  const tensor = value && constantTensor(value);
  if (!tensor) return undefined;
  return tensorFromBytes(tensor.dataType as DataType, tensor.dims.map(Number), model.bytes(tensor));
}

/** The bytes of a tensor in memory. */
export function bytesOf({ data }: Tensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** A tensor with other contents, held in the model itself whatever held the old ones. */
export function withBytes(tensor: TensorProto, bytes: Uint8Array): TensorProto {
  const none = {
    floatData: [],
    int32Data: [],
    int64Data: [],
    doubleData: [],
    uint64Data: [],
    externalData: [],
  };
  return derive(tensor, { ...none, dataLocation: undefined, rawData: memoryBytes(bytes) });
}
