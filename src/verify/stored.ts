import { constantTensor } from '../analyse';
import type { Model } from '../ir';
import { type DataType, derive, memoryBytes, type TensorProto } from '../onnx';
import { type Tensor, tensorFromBytes } from './tensor';

/** A constant of the main graph by name. */
export function storedTensor(model: Model, name: string): Tensor | undefined {
  const value = model.graph.values.get(name);
  const tensor = value && constantTensor(value);
  if (!tensor) return undefined;
  return tensorFromBytes(tensor.dataType as DataType, tensor.dims.map(Number), model.bytes(tensor));
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
