import { constantTensor, elementCount, tensorShape } from '../analyse';
import type { Node, Value } from '../ir';
import { DataType, isFloatType, type TensorProto } from '../onnx';

/** What a stored tensor is for. A bias is a part where the product adds it itself. */
export type PartRole = 'weight' | 'scale' | 'zero_point' | 'bias' | 'bias_scale' | 'bias_zero_point';

/** How the columns of a projection lie in one of its stored tensors. */
export type ColumnLayout =
  /** One row for each column. */
  | 'rows'
  /** [in, out]. */
  | 'columns'
  /** The same for all columns. */
  | 'shared';

/** One stored tensor of a quantized weight. */
export interface QuantizedPart {
  readonly role: PartRole;
  /** The node that reads it, and where. */
  readonly node: Node;
  readonly index: number;
  /** Another node that reads it at the same place: what a QuantizeLinear rounds by, its DequantizeLinear is told as well. */
  readonly twin?: Node;
  readonly value: Value;
  readonly tensor: TensorProto;
  readonly layout: ColumnLayout;
}

/** A linear layer whose weight is quantized: operators with stored tensors, to be copied as they are. */
export interface QuantizedWeights {
  /**
   * `integer`: one number for each weight; `blocks`: packed numbers with a scale for each block of a row; `rounded`: floats
   * that are rounded as they are read, as training for quantization has them.
   */
  readonly format: 'integer' | 'blocks' | 'rounded';
  /** Bits of a number. */
  readonly bits: number;
  /** True where numbers are signed. */
  readonly signed: boolean;
  /** Numbers that share a scale along a row, for `blocks`. */
  readonly blockSize: number | undefined;
  /** From the stored tensors to the result, in order, without a bias that is added behind the product. */
  readonly chain: readonly Node[];
  readonly parts: readonly QuantizedPart[];
}

export interface QuantizedProduct {
  readonly node: Node;
  readonly input: Value;
  readonly output: Value;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly quantized: QuantizedWeights;
}

/** What a node reads at some place, where that is stored. */
export function part(
  node: Node,
  index: number,
  role: PartRole,
  layout: ColumnLayout,
): QuantizedPart | undefined {
  const value = node.inputs[index];
  const tensor = value && constantTensor(value);
  if (SCALES.has(role) && !isFloatType(tensor?.dataType)) return undefined;
  return value && tensor ? { role, node, index, value, tensor, layout } : undefined;
}

const SCALES = new Set<PartRole>(['scale', 'bias_scale']);

/** A scale or zero point holds one number for all, or one for each column. */
export function perColumn(node: Node, index: number, role: PartRole): QuantizedPart | undefined {
  const found = part(node, index, role, 'shared');
  const count = found ? elementCount(tensorShape(found.tensor)) : 0;
  return found && count > 1 ? { ...found, layout: 'rows' } : found;
}

/** Bits of the numbers that weights are stored in. */
const BITS = new Map<number, number>([
  [DataType.INT8, 8],
  [DataType.UINT8, 8],
  [DataType.INT4, 4],
  [DataType.UINT4, 4],
]);

/** A layer whose weight is a matrix of bytes or halves of them, or of floats that a zero point of such is added to; undefined where its parts do not fit together. */
export function integerLayer(
  node: Node,
  input: Value,
  output: Value,
  chain: readonly Node[],
  weight: QuantizedPart,
  parts: readonly QuantizedPart[],
): QuantizedProduct | undefined {
  const [first, second] = tensorShape(weight.tensor);
  const [inFeatures, outFeatures] = weight.layout === 'rows' ? [second, first] : [first, second];
  const rounded = isFloatType(weight.tensor.dataType);
  const zeroPoint = parts.find(({ role }) => role === 'zero_point')?.tensor;
  const type = (rounded ? zeroPoint : weight.tensor)?.dataType ?? 0;
  const bits = BITS.get(type);
  if (
    inFeatures === undefined ||
    outFeatures === undefined ||
    tensorShape(weight.tensor).length !== 2 ||
    bits === undefined
  )
    return undefined;
  const uneven = parts.some((each) => each.layout !== 'shared' && columnCount(each) !== outFeatures);
  if (uneven) return undefined;
  const signed = type === DataType.INT8 || type === DataType.INT4;
  const format = rounded ? 'rounded' : 'integer';
  const quantized = { format, bits, signed, blockSize: undefined, chain, parts } as const;
  return { node, input, output, inFeatures, outFeatures, quantized };
}

/** How many columns a stored tensor has numbers for: one for each, or, as a weight and scales of blocks, several. */
function columnCount({ tensor, layout }: QuantizedPart): number | undefined {
  const shape = tensorShape(tensor);
  // A vector, however many axes of length 1 it has.
  if (shape.every((size) => size === 1 || size === elementCount(shape))) return elementCount(shape);
  return layout === 'rows' ? shape[0] : shape.at(-1);
}
