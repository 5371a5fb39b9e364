import { type Dataflow, isDequantize, type Shapes } from '../analyse';
import type { Node, Value } from '../ir';
import type { QuantizedProduct } from './quantized-parts';
import { integerLayer, type PartRole, part, perColumn, type QuantizedPart } from './quantized-parts';

/** Stored numbers, and the scale and zero point that a DequantizeLinear has for them. */
interface Dequantized {
  readonly node: Node;
  readonly parts: readonly QuantizedPart[];
}

/**
 * MatMul(x, DequantizeLinear(Wq, scale, zero)) or Gemm, as static quantization writes it; or with a Transpose behind
 * weights that are stored [out, in], as weight-only quantization does. A Gemm may have a bias behind a DequantizeLinear.
 */
export function dequantizedProduct(
  node: Node,
  dataflow: Dataflow,
  shapes: Shapes,
): QuantizedProduct | undefined {
  const [input, operand] = node.inputs;
  const output = node.outputs[0];
  const turn = isTurn(operand?.producer) ? operand?.producer : undefined;
  const holder = turn ? turn.inputs[0] : operand;
  if (!input || !output || !holder || !isPlain(node) || !dataflow.dependsOnData(input)) return undefined;
  // Turned twice is as it was.
  const rows = (turn !== undefined) !== (node.int('transB') === 1);
  const weight = dequantized(holder, rows ? 0 : 1, rows ? 'rows' : 'columns', WEIGHT, shapes);
  const bias = node.is('Gemm') ? biasParts(node, shapes) : [];
  const [numbers] = weight?.parts ?? [];
  if (!weight || !numbers || !bias) return undefined;
  const between = [...(turn ? [turn] : []), ...bias.flatMap((each) => (each.node === node ? [] : each.node))];
  const chain = [weight.node, ...new Set(between), node];
  return integerLayer(node, input, output, chain, numbers, [...weight.parts, ...bias]);
}

/** A MatMul, or a Gemm that only multiplies and adds. */
function isPlain(node: Node): boolean {
  const unscaled = ['alpha', 'beta'].every((name) => (node.float(name) ?? 1) === 1);
  return node.is('MatMul') || (unscaled && node.int('transA') !== 1);
}

const WEIGHT = ['weight', 'scale', 'zero_point'] as const;

const BIAS = ['bias', 'bias_scale', 'bias_zero_point'] as const;

/** What the third input of a Gemm is stored in, none where there is none; undefined where it is anything else. */
function biasParts(node: Node, shapes: Shapes): readonly QuantizedPart[] | undefined {
  const value = node.inputs[2];
  if (!value) return [];
  const shape = shapes.shape(value);
  const axis = (shape?.length ?? 0) - 1;
  // One number for all columns, or a number for each row, is no bias of columns; see `integerLayer` for how many there are.
  if (axis < 0 || !shape?.slice(0, -1).every((size) => size.value === 1)) return undefined;
  const stored = part(node, 2, 'bias', 'columns');
  return stored ? [stored] : dequantized(value, axis, 'columns', BIAS, shapes)?.parts;
}

/**
 * Reads DequantizeLinear(numbers, scale, zero), with a scale for all or one for each column.
 * @param axis of the columns in the numbers
 */
function dequantized(
  value: Value,
  axis: number,
  layout: QuantizedPart['layout'],
  [numbers, scales, zeros]: readonly [PartRole, PartRole, PartRole],
  shapes: Shapes,
): Dequantized | undefined {
  const node = value.producer;
  if (!node || !isDequantize(node) || node.int('block_size')) return undefined;
  const rank = shapes.shape(value)?.length ?? 0;
  const own = node.int('axis') ?? 1;
  const perAxis =
    shapes.shape(node.inputs[1])?.length === 1 && shapes.shape(node.inputs[1])?.[0]?.value !== 1;
  if (perAxis && own !== axis && own !== axis - rank) return undefined;
  const stored = part(node, 0, numbers, layout);
  const scale = perColumn(node, 1, scales);
  const zeroPoint = node.inputs[2] ? perColumn(node, 2, zeros) : undefined;
  if (!stored || !scale || (node.inputs[2] && !zeroPoint)) return undefined;
  return { node, parts: [stored, scale, ...(zeroPoint ? [zeroPoint] : [])] };
}

/** A Transpose of a matrix. */
function isTurn(node: Node | undefined): boolean {
  const perm = node?.is('Transpose') ? (node.ints('perm') ?? []) : undefined;
  return perm !== undefined && (perm.length === 0 || perm.join() === '1,0');
}
