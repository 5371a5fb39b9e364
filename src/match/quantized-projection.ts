import { type Dataflow, elementCount, type Shapes, tensorShape } from '../analyse';
import type { Node } from '../ir';
import { DataType } from '../onnx';
import { dequantizedProduct } from './dequantized-product';
import { integerLayer, part, perColumn, type QuantizedProduct } from './quantized-parts';

/** Recognises MatMulNBits, MatMulInteger with its scale, its fused kin, and MatMul and Gemm of a DequantizeLinear. */
export function quantizedProduct(
  node: Node,
  dataflow: Dataflow,
  shapes: Shapes,
): QuantizedProduct | undefined {
  if (node.isFrom('com.microsoft', 'MatMulNBits')) return blockProduct(node, dataflow);
  if (node.is('Mul')) return integerProduct(node, dataflow);
  if (node.isFrom('com.microsoft', 'MatMulIntegerToFloat', 'DynamicQuantizeMatMul'))
    return fusedProduct(node, dataflow);
  if (node.is('MatMul', 'Gemm')) return dequantizedProduct(node, dataflow, shapes);
  return undefined;
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
