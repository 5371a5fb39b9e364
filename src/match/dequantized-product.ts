import {
  constantSource,
  constantTensor,
  type Dataflow,
  elementCount,
  frontAxis,
  isDequantize,
  isQuantize,
  type Shapes,
  tensorShape,
} from '../analyse';
import type { Node, Value } from '../ir';
import { isFloatType } from '../onnx';
import {
  integerLayer,
  type PartRole,
  part,
  perColumn,
  type QuantizedPart,
  type QuantizedProduct,
} from './quantized-parts';

/** Stored numbers, and the scale and zero point that a DequantizeLinear has for them. */
interface Dequantized {
  /** The DequantizeLinear, and a QuantizeLinear before it. */
  readonly nodes: readonly Node[];
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
  const again = roundedAgain(holder);
  const weight = dequantized(again.value, rows ? 0 : 1, rows ? 'rows' : 'columns', WEIGHT, shapes);
  const bias = node.is('Gemm') ? biasOf(node, shapes) : NOTHING;
  const [numbers] = weight?.parts ?? [];
  if (!weight || !numbers || !bias) return undefined;
  const chain = [...weight.nodes, ...again.nodes, ...(turn ? [turn] : []), ...bias.nodes, node];
  return integerLayer(node, input, output, chain, numbers, [...weight.parts, ...bias.parts]);
}

/** A MatMul, or a Gemm that only multiplies and adds. */
function isPlain(node: Node): boolean {
  const factors = node.inputs[2] ? ['alpha', 'beta'] : ['alpha'];
  const scaled = factors.some((name) => (node.float(name) ?? 1) !== 1);
  return node.is('MatMul') || (!scaled && node.int('transA') !== 1);
}

const WEIGHT = ['weight', 'scale', 'zero_point'] as const;

const NOTHING: Dequantized = { nodes: [], parts: [] };

const BIAS = ['bias', 'bias_scale', 'bias_zero_point'] as const;

/** What the third input of a Gemm is stored in, none where there is none; undefined where it is anything else. */
function biasOf(node: Node, shapes: Shapes): Dequantized | undefined {
  const value = node.inputs[2];
  if (!value) return NOTHING;
  const shape = shapes.shape(value);
  const axis = (shape?.length ?? 0) - 1;
  // One number for all columns, or a number for each row, is no bias of columns; see `integerLayer` for how many there are.
  if (axis < 0 || !shape?.slice(0, -1).every((size) => size.value === 1)) return undefined;
  const stored = part(node, 2, 'bias', 'columns');
  return stored ? { nodes: [], parts: [stored] } : dequantized(value, axis, 'columns', BIAS, shapes);
}

/**
 * Reads DequantizeLinear(numbers, scale, zero), with a scale for all or one for each column; the numbers are stored, or
 * QuantizeLinear(floats, scale, zero).
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
  if (!node || !isDequantize(node)) return undefined;
  const rank = shapes.shape(value)?.length ?? 0;
  const own = node.int('axis') ?? 1;
  if (node.int('block_size')) return blocks(node, axis, rank, layout, [numbers, scales, zeros]);
  const perAxis =
    shapes.shape(node.inputs[1])?.length === 1 && shapes.shape(node.inputs[1])?.[0]?.value !== 1;
  if (perAxis && own !== axis && own !== axis - rank) return undefined;
  const rounding = roundingBefore(node, own, rank);
  const stored = part(rounding ?? node, 0, numbers, layout);
  const scale = perColumn(node, 1, scales);
  const zeroPoint = node.inputs[2] ? perColumn(node, 2, zeros) : undefined;
  if (!stored || !scale || (node.inputs[2] && !zeroPoint)) return undefined;
  const twin = rounding ? { twin: rounding } : {};
  const told = [scale, ...(zeroPoint ? [zeroPoint] : [])].map((each) => ({ ...each, ...twin }));
  return { nodes: [...(rounding ? [rounding] : []), node], parts: [stored, ...told] };
}

/** As above with a scale for each block of numbers along the rows; `layout` is that of a matrix. */
function blocks(
  node: Node,
  axis: number,
  rank: number,
  layout: QuantizedPart['layout'],
  [numbers, scales, zeros]: readonly [PartRole, PartRole, PartRole],
): Dequantized | undefined {
  // Blocks of columns would be torn apart where heads are.
  if (rank !== 2 || frontAxis(node.int('axis') ?? 1, rank) === axis) return undefined;
  const parts = [part(node, 0, numbers, layout), part(node, 1, scales, layout)];
  if (node.inputs[2]) parts.push(part(node, 2, zeros, layout));
  const stored = parts.filter((each) => each !== undefined);
  const [weight] = stored;
  if (stored.length < parts.length || !weight || isFloatType(weight.tensor.dataType)) return undefined;
  return stored.every(({ tensor }) => tensorShape(tensor).length === 2)
    ? { nodes: [node], parts: stored }
    : undefined;
}

/** What is rounded once more by one number for all, as a weight is where a second layer reads it by another name. */
function roundedAgain(start: Value): { readonly value: Value; readonly nodes: readonly Node[] } {
  const nodes: Node[] = [];
  let value = start;
  for (let node = value.producer; node; node = value.producer) {
    const before = isDequantize(node) ? node.inputs[0]?.producer : undefined;
    const pair =
      before && isQuantize(before) && [before, node].every(roundsAlike) ? [before, node] : undefined;
    const [first, ...rest] = node.is('Identity') ? [node] : (pair ?? []);
    const source = first?.inputs[0];
    if (!first || !source || constantTensor(source)) break;
    nodes.unshift(first, ...rest);
    value = source;
  }
  return { value, nodes };
}

/** True where scale and zero point are one number for all. */
function roundsAlike({ inputs }: Node): boolean {
  const told = inputs.slice(1).map((value) => value && constantTensor(value));
  return told.every((tensor) => tensor && elementCount(tensorShape(tensor)) === 1);
}

/** A QuantizeLinear of floats that rounds as its DequantizeLinear reads. */
function roundingBefore(node: Node, axis: number, rank: number): Node | undefined {
  const before = node.inputs[0]?.producer;
  if (!before || !isQuantize(before) || before.int('block_size')) return undefined;
  const source = (value: Value | undefined) => value && constantSource(value);
  const told = [1, 2].every((index) => source(before.inputs[index]) === source(node.inputs[index]));
  const same = frontAxis(before.int('axis') ?? 1, rank) === frontAxis(axis, rank);
  return told && same ? before : undefined;
}

/** A Transpose of a matrix. */
function isTurn(node: Node | undefined): boolean {
  const perm = node?.is('Transpose') ? (node.ints('perm') ?? []) : undefined;
  return perm !== undefined && (perm.length === 0 || perm.join() === '1,0');
}
