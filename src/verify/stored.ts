import { constantTensor } from '../analyse';
import type { Model } from '../ir';
import type { DataType } from '../onnx';
import { type Tensor, tensorFromBytes } from './tensor';

/** A constant of the main graph by name. */
export function storedTensor(model: Model, name: string): Tensor | undefined {
  const value = model.graph.values.get(name);
  const tensor = value && constantTensor(value);
  if (!tensor) return undefined;
  return tensorFromBytes(tensor.dataType as DataType, tensor.dims.map(Number), model.bytes(tensor));
}
