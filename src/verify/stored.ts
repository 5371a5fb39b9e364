import { constantTensor } from '../analyse';
import type { Model, Value } from '../ir';
import { type DataType, derive, memoryBytes, type TensorProto } from '../onnx';
import { type Tensor, tensorFromBytes } from './tensor';

/** A value of the main graph or of a body inside it, by name. */
export function findValue(model: Model, name: string): Value | undefined {
  for (const scope of model.graph.scopes()) {
    const value = scope.values.get(name);
    if (value) return value;
  }
  return undefined;
}

/** A constant by name. */
export function storedTensor(model: Model, name: string): Tensor | undefined {
  const value = findValue(model, name);
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
