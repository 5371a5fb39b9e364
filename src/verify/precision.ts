import { constantTensor, elementType } from '../analyse';
import type { Model, Node, Value } from '../ir';
import { DataType } from '../onnx';
import { type Precision, TOLERANCES, type Tolerance, toleranceFor } from './tolerance';

/**
 * Operators that round to a few bits, of the standard set and of com.microsoft. Weights that are stored in a few bits are
 * read by DequantizeLinear; ONNX Runtime makes an operator of it and the product that rounds what it multiplies them with.
 */
const QUANTIZED = /[Qq]uantize|MatMulInteger|ConvInteger|^QLinear|^Q(Attention|Gemm|MoE|Ordered)|NBits|Bnb4/;

/** Operators whose weights say what a model computes in. */
const LINEAR = ['MatMul', 'Gemm', 'Conv', 'Attention', 'MultiHeadAttention'];

/** Operators whose results round what follows: Casts may stand before and behind them. */
const ROUNDING = [...LINEAR, 'Einsum', 'FusedMatMul', 'GroupQueryAttention', 'Softmax'];

/**
 * What a model computes in, read off its operators, the weights of its linear layers and the types of what they give.
 * @param wide with float32 in the place of bfloat16
 */
export function precisionOf(model: Model, wide = false): Precision {
  const nodes = [...model.scopes()].flatMap((scope) => scope.nodes);
  if (nodes.some(({ opType }) => QUANTIZED.test(opType))) return 'quantized';
  const types = new Set([
    ...nodes.filter(({ opType }) => LINEAR.includes(opType)).flatMap(weightTypes),
    ...nodes
      .filter(({ opType }) => ROUNDING.includes(opType))
      .flatMap(({ outputs }) => elementType(outputs[0]) ?? []),
  ]);
  if (types.has(DataType.BFLOAT16) && !wide) return 'bfloat16';
  if (types.has(DataType.FLOAT16)) return 'float16';
  return types.has(DataType.FLOAT) || wide || !types.has(DataType.DOUBLE) ? 'float32' : 'float64';
}

function weightTypes(node: Node): number[] {
  return node.inputs.flatMap((input) => (input && stored(input)?.dataType) ?? []);
}

function stored(value: Value): ReturnType<typeof constantTensor> {
  let at = value;
  for (let node = at.producer; node?.is('Transpose') && node.inputs[0]; node = at.producer)
    at = node.inputs[0];
  return constantTensor(at);
}

/**
 * The tolerance for a result of a model that computes in `precision`: a float32 output of a model that computes in
 * float16 is no better than float16. Integers and booleans are compared exactly.
 */
export function toleranceWithin(precision: Precision, dtype: DataType | undefined): Tolerance {
  const own = toleranceFor(dtype);
  const whole = TOLERANCES[precision];
  return own !== TOLERANCES.exact && whole.atol > own.atol ? whole : own;
}

/**
 * A tolerance for values of a size below 1: what is small is rounded in small steps, so that a difference counts for
 * more there.
 * @param size root mean square of what is compared, or of what it is made from
 */
export function scaled({ atol, rtol }: Tolerance, size: number): Tolerance {
  return { atol: atol * (size > 0 ? Math.min(1, size) : 1), rtol };
}
