import { constantTensor, type Dataflow, elementCount, type Shapes, tensorShape } from '../analyse';
import type { Node, Value } from '../ir';
import { DataType, isFloatType, type TensorProto } from '../onnx';

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
  readonly role: 'weight' | 'scale' | 'zero_point';
  /** The node that reads it, and where. */
  readonly node: Node;
  readonly index: number;
  readonly value: Value;
  readonly tensor: TensorProto;
  readonly layout: ColumnLayout;
}

/** A linear layer whose weight is quantized: operators with stored tensors, to be copied as they are. */
export interface QuantizedWeights {
  /** `integer`: one number for each weight; `blocks`: packed numbers with a scale for each block of a row. */
  readonly format: 'integer' | 'blocks';
  /** Bits of a stored number. */
  readonly bits: number;
  /** True where stored numbers are signed. */
  readonly signed: boolean;
  /** Numbers that share a scale along a row, for `blocks`. */
  readonly blockSize: number | undefined;
  /** From the stored weight to the result, in order, without the bias. */
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

/** Recognises MatMulNBits, MatMulInteger with its scale, its fused kin, and MatMul of a DequantizeLinear. */
export function quantizedProduct(
  node: Node,
  dataflow: Dataflow,
  shapes: Shapes,
): QuantizedProduct | undefined {
  if (node.isFrom('com.microsoft', 'MatMulNBits')) return blockProduct(node, dataflow);
  if (node.is('Mul')) return integerProduct(node, dataflow);
  if (node.isFrom('com.microsoft', 'MatMulIntegerToFloat', 'DynamicQuantizeMatMul'))
    return fusedProduct(node, dataflow);
  if (node.is('MatMul')) return dequantizedProduct(node, dataflow, shapes);
  return undefined;
}

function part(
  node: Node,
  index: number,
  role: QuantizedPart['role'],
  layout: ColumnLayout,
): QuantizedPart | undefined {
  const value = node.inputs[index];
  const tensor = value && constantTensor(value);
  if (role === 'scale' && !isFloatType(tensor?.dataType)) return undefined;
  return value && tensor ? { role, node, index, value, tensor, layout } : undefined;
}

/** A scale or zero point holds one number for all, or one for each column. */
function perColumn(node: Node, index: number, role: QuantizedPart['role']): QuantizedPart | undefined {
  const found = part(node, index, role, 'shared');
  const count = found ? elementCount(tensorShape(found.tensor)) : 0;
  return found && count > 1 ? { ...found, layout: 'rows' } : found;
}

function isSigned(tensor: TensorProto): boolean {
  return tensor.dataType === DataType.INT8 || tensor.dataType === DataType.INT4;
}

/** com.microsoft.MatMulNBits: A, B [N, blocks, bytes], scales [N * blocks], zero_points, g_idx, bias. */
function blockProduct(node: Node, dataflow: Dataflow): QuantizedProduct | undefined {
  const [input] = node.inputs;
  const output = node.outputs[0];
  const weight = part(node, 1, 'weight', 'rows');
  const scale = part(node, 2, 'scale', 'rows');
  const zeroPoint = node.inputs[3] ? part(node, 3, 'zero_point', 'rows') : undefined;
  const [outFeatures, inFeatures] = [node.int('N'), node.int('K')];
  const missing = node.inputs[3] && !zeroPoint;
  if (!input || !output || !weight || !scale || missing || !outFeatures || !inFeatures) return undefined;
  if (node.inputs[4] || node.inputs[5] || !dataflow.dependsOnData(input)) return undefined;
  if (zeroPoint && zeroPoint.tensor.dataType !== DataType.UINT8) return undefined;
  const parts = [weight, scale, ...(zeroPoint ? [zeroPoint] : [])];
  const [bits, blockSize] = [node.int('bits') ?? 4, node.int('block_size') ?? 0];
  const rowBytes = (Math.ceil(inFeatures / blockSize) * blockSize * bits) / 8;
  const uneven = parts.some(({ tensor }) => elementCount(tensorShape(tensor)) % outFeatures !== 0);
  if (uneven || elementCount(tensorShape(weight.tensor)) !== outFeatures * rowBytes) return undefined;
  const quantized = {
    format: 'blocks',
    bits,
    signed: false,
    blockSize,
    chain: [node],
    parts,
  } as const;
  return { node, input, output, inFeatures, outFeatures, quantized };
}

/** Mul(Cast(MatMulInteger(Aq, Bq, a_zero, b_zero)), a_scale * b_scale), as ONNX Runtime's dynamic quantization writes it. */
function integerProduct(node: Node, dataflow: Dataflow): QuantizedProduct | undefined {
  const output = node.outputs[0];
  const cast = node.inputs.find((each) => each?.producer?.is('Cast'))?.producer;
  const product = cast?.inputs[0]?.producer;
  const scales = node.inputs.find((each) => each !== cast?.outputs[0])?.producer;
  if (!output || !cast || !product?.is('MatMulInteger') || !scales?.is('Mul')) return undefined;
  const quantizer = product.inputs[0]?.producer;
  const input = quantizer?.is('DynamicQuantizeLinear') ? quantizer.inputs[0] : undefined;
  const weight = part(product, 1, 'weight', 'columns');
  const scaleIndex = scales.inputs.findIndex((each) => each && !dataflow.dependsOnData(each));
  const scale = scaleIndex < 0 ? undefined : perColumn(scales, scaleIndex, 'scale');
  const zeroPoint = product.inputs[3] ? perColumn(product, 3, 'zero_point') : undefined;
  if (!input || !weight || !scale || (product.inputs[3] && !zeroPoint)) return undefined;
  const parts = [weight, scale, ...(zeroPoint ? [zeroPoint] : [])];
  return integerLayer(product, input, output, [product, cast, scales, node], weight, parts);
}

function integerLayer(
  node: Node,
  input: Value,
  output: Value,
  chain: readonly Node[],
  weight: QuantizedPart,
  parts: readonly QuantizedPart[],
): QuantizedProduct | undefined {
  const [first, second] = tensorShape(weight.tensor);
  const [inFeatures, outFeatures] = weight.layout === 'rows' ? [second, first] : [first, second];
  const bytes = weight.tensor.dataType === DataType.INT8 || weight.tensor.dataType === DataType.UINT8;
  if (
    inFeatures === undefined ||
    outFeatures === undefined ||
    tensorShape(weight.tensor).length !== 2 ||
    !bytes
  )
    return undefined;
  const uneven = parts.some(
    (each) =>
      each !== weight && each.layout === 'rows' && elementCount(tensorShape(each.tensor)) !== outFeatures,
  );
  if (uneven) return undefined;
  const signed = isSigned(weight.tensor);
  const quantized = { format: 'integer', bits: 8, signed, blockSize: undefined, chain, parts } as const;
  return { node, input, output, inFeatures, outFeatures, quantized };
}

/** com.microsoft.MatMulIntegerToFloat (A, B, a_scale, b_scale, a_zero, b_zero) and DynamicQuantizeMatMul (A, B, b_scale, b_zero). */
function fusedProduct(node: Node, dataflow: Dataflow): QuantizedProduct | undefined {
  const dynamic = node.opType === 'DynamicQuantizeMatMul';
  const [scaleIndex, zeroIndex, biasIndex] = dynamic ? [2, 3, 4] : [3, 5, 6];
  const first = node.inputs[0];
  const input = dynamic
    ? first
    : first?.producer?.is('DynamicQuantizeLinear')
      ? first.producer.inputs[0]
      : undefined;
  const output = node.outputs[0];
  const weight = part(node, 1, 'weight', 'columns');
  const scale = perColumn(node, scaleIndex, 'scale');
  const zeroPoint = node.inputs[zeroIndex] ? perColumn(node, zeroIndex, 'zero_point') : undefined;
  if (!input || !output || !weight || !scale || node.inputs[biasIndex] || !dataflow.dependsOnData(input))
    return undefined;
  if (node.inputs[zeroIndex] && !zeroPoint) return undefined;
  const parts = [weight, scale, ...(zeroPoint ? [zeroPoint] : [])];
  return integerLayer(node, input, output, [node], weight, parts);
}

/**
 * MatMul(x, DequantizeLinear(Wq, scale, zero)), as static quantization writes it; or with a Transpose behind weights that
 * are stored [out, in], as weight-only quantization does.
 */
function dequantizedProduct(node: Node, dataflow: Dataflow, shapes: Shapes): QuantizedProduct | undefined {
  const [input, operand] = node.inputs;
  const output = node.outputs[0];
  const turn = isTurn(operand?.producer) ? operand?.producer : undefined;
  const dequantize = turn ? turn.inputs[0]?.producer : operand?.producer;
  if (!input || !output || !dequantize?.is('DequantizeLinear') || !dataflow.dependsOnData(input))
    return undefined;
  const [columnAxis, fromEnd] = turn ? [0, -2] : [1, -1];
  const axis = dequantize.int('axis') ?? 1;
  if (axis !== columnAxis && axis !== fromEnd && shapes.shape(dequantize.inputs[1])?.length === 1)
    return undefined;
  const weight = part(dequantize, 0, 'weight', turn ? 'rows' : 'columns');
  const scale = perColumn(dequantize, 1, 'scale');
  const zeroPoint = dequantize.inputs[2] ? perColumn(dequantize, 2, 'zero_point') : undefined;
  if (!weight || !scale || (dequantize.inputs[2] && !zeroPoint) || dequantize.int('block_size'))
    return undefined;
  const parts = [weight, scale, ...(zeroPoint ? [zeroPoint] : [])];
  return integerLayer(node, input, output, [dequantize, ...(turn ? [turn] : []), node], weight, parts);
}

/** A Transpose of a matrix. */
function isTurn(node: Node | undefined): boolean {
  const perm = node?.is('Transpose') ? (node.ints('perm') ?? []) : undefined;
  return perm !== undefined && (perm.length === 0 || perm.join() === '1,0');
}
