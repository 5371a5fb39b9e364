import type { Model, Node, Value } from '../ir';
import { DataType, decodeFloats, isFloatType, type TensorProto } from '../onnx';
import { MOST_ELEMENTS } from './limits';

/** A small constant: its dimensions and elements, all as JavaScript numbers. */
export interface SmallConstant {
  readonly shape: readonly number[];
  readonly dataType: number;
  readonly values: readonly number[];
}

/** The tensor behind a value that is a constant itself: an initializer, a Constant node, or an Identity of one. */
export function constantTensor(value: Value): TensorProto | undefined {
  const source = constantSource(value);
  if (source.isInput) return undefined;
  if (source.initializer) return source.initializer;
  return source.producer?.is('Constant') ? source.producer.tensor('value') : undefined;
}

/** The value that holds a constant, behind any Identity: two readers of one weight agree on it. */
export function constantSource(value: Value): Value {
  let source = value;
  for (let node = source.producer; node?.is('Identity') && node.inputs[0]; node = source.producer)
    source = node.inputs[0];
  return source;
}

/** The dimensions of a tensor as numbers. */
export function tensorShape(tensor: TensorProto): number[] {
  return tensor.dims.map(Number);
}

/** How many elements a shape has; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((all, dim) => all * dim, 1);
}

/** Reads a constant of at most 64 elements; undefined for anything else. */
export function smallConstant(model: Model, value: Value | undefined): SmallConstant | undefined {
  const casts: number[] = [];
  let source = value;
  for (let node = source?.producer; node?.is('Cast'); node = source?.producer) {
    casts.push(node.int('to') ?? 0);
    source = node.inputs[0];
  }
  return casts.reduceRight(castConstant, source && uncastConstant(model, source));
}

function uncastConstant(model: Model, value: Value): SmallConstant | undefined {
  const node = value.producer;
  if (node?.is('Constant')) return constantOfNode(model, node);
  const tensor = constantTensor(value);
  return tensor && smallTensor(model, tensor);
}

/** What a Constant node gives, in a local function also one whose attribute the call has filled in. */
export function constantOfNode(model: Model, node: Node): SmallConstant | undefined {
  const tensor = node.tensor('value');
  return tensor ? smallTensor(model, tensor) : constantAttribute(node);
}

function smallTensor(model: Model, tensor: TensorProto): SmallConstant | undefined {
  const shape = tensorShape(tensor);
  if (!(elementCount(shape) <= MOST_ELEMENTS)) return undefined;
  const values = readNumbers(tensor, model);
  return values && { shape, dataType: tensor.dataType ?? 0, values };
}

function constantAttribute(node: Node): SmallConstant | undefined {
  const int = node.int('value_int');
  if (int !== undefined) return { shape: [], dataType: DataType.INT64, values: [int] };
  const float = node.float('value_float');
  if (float !== undefined) return { shape: [], dataType: DataType.FLOAT, values: [float] };
  const ints = node.attribute('value_ints')?.ints;
  if (ints && ints.length > MOST_ELEMENTS) return undefined;
  if (ints) return { shape: [ints.length], dataType: DataType.INT64, values: ints.map(Number) };
  const floats = node.attribute('value_floats')?.floats;
  if (!floats || floats.length > MOST_ELEMENTS) return undefined;
  return { shape: [floats.length], dataType: DataType.FLOAT, values: [...floats] };
}

function castConstant(constant: SmallConstant | undefined, to: number): SmallConstant | undefined {
  if (!constant) return undefined;
  const whole = to === DataType.INT64 || to === DataType.INT32;
  return { ...constant, dataType: to, values: whole ? constant.values.map(Math.trunc) : constant.values };
}

function readNumbers(tensor: TensorProto, model: Model): number[] | undefined {
  const bytes = model.bytes(tensor);
  if (isFloatType(tensor.dataType)) return [...decodeFloats(tensor.dataType, bytes)];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const read = (size: number, at: (offset: number) => number) =>
    Array.from({ length: Math.floor(bytes.byteLength / size) }, (_, index) => at(index * size));
  switch (tensor.dataType) {
    case DataType.INT64:
      return read(8, (at) => Number(view.getBigInt64(at, true)));
    case DataType.INT32:
      return read(4, (at) => view.getInt32(at, true));
    case DataType.BOOL:
    case DataType.UINT8:
      return read(1, (at) => view.getUint8(at));
    case DataType.INT8:
      return read(1, (at) => view.getInt8(at));
    case DataType.UINT16:
      return read(2, (at) => view.getUint16(at, true));
    case DataType.INT16:
      return read(2, (at) => view.getInt16(at, true));
    default:
      return undefined;
  }
}
