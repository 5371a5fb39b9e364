import type { Node, Value } from '../ir';
import { dataInputs } from './dataflow';
import { frontAxis } from './facts';
import type { Shapes } from './shapes';

/** A softmax in whatever form: the operator, or written out in exponentials. */
export interface SoftmaxForm {
  /** The node that gives the probabilities. */
  readonly node: Node;
  /** The scores that are turned into them. */
  readonly input: Value;
  /** The node that normalises, which says over which axis: Softmax, LogSoftmax or ReduceSum. */
  readonly over: Node;
}

/** Operators between exponentials and what they are divided by: guards, masks, casts, and broadcasting. */
const AROUND = [
  'Add',
  'Cast',
  'Clip',
  'Expand',
  'Identity',
  'Max',
  'Mul',
  'Reshape',
  'Squeeze',
  'Transpose',
  'Unsqueeze',
  'Where',
];

/**
 * The softmax that ends in a node: a Softmax, Exp(LogSoftmax(x)), or exponentials divided by their sum, with a mask on
 * them or something added to the sum.
 */
export function softmaxForm(node: Node): SoftmaxForm | undefined {
  const [first, second] = node.inputs;
  if (node.is('Softmax')) return first && { node, input: first, over: node };
  if (node.is('Exp')) {
    const log = first?.producer;
    const input = log?.is('LogSoftmax') ? log.inputs[0] : undefined;
    return log && input && { node, input, over: log };
  }
  if (!first || !second) return undefined;
  if (node.is('Div')) return writtenOut(node, first, second);
  if (!node.is('Mul')) return undefined;
  const inverse = [first, second].findIndex((input) => input.producer?.is('Reciprocal'));
  const sum = node.inputs[inverse]?.producer?.inputs[0];
  const exponentials = node.inputs[1 - inverse];
  return sum && exponentials && writtenOut(node, exponentials, sum);
}

function writtenOut(node: Node, exponentials: Value, sum: Value): SoftmaxForm | undefined {
  const exp = behind(exponentials, (each) => each.is('Exp'));
  const input = exp?.inputs[0];
  if (!exp || !input) return undefined;
  const over = behind(
    sum,
    (each) => each.is('ReduceSum') && behind(each.inputs[0], (at) => at === exp) === exp,
  );
  return over && { node, input, over };
}

/**
 * The scores of a softmax that is normalised behind the product with values: exponentials times values, divided by the
 * sum of the exponentials.
 */
export function normalisedProduct(node: Node, isProduct: (node: Node) => boolean): Value | undefined {
  const [dividend, sum] = node.inputs;
  if (!node.is('Div') || !dividend || !sum) return undefined;
  const product = behind(dividend, (each) => isProduct(each));
  const reduced = behind(sum, (each) => each.is('ReduceSum'));
  const summed = reduced && behind(reduced.inputs[0], (each) => each.is('Exp'));
  if (!product || !summed) return undefined;
  const weighs = product.inputs.some((input) => behind(input, (each) => each === summed) !== undefined);
  return weighs ? summed.inputs[0] : undefined;
}

/** The nearest node that is wanted, behind operators that may stand around a sum of exponentials. */
function behind(start: Value | undefined, wanted: (node: Node) => boolean): Node | undefined {
  const seen = new Set<Value>();
  const open = start ? [start] : [];
  for (let value = open.pop(); value; value = open.pop()) {
    const node = seen.has(value) ? undefined : value.producer;
    seen.add(value);
    if (!node) continue;
    if (wanted(node)) return node;
    if (node.is(...AROUND)) open.push(...dataInputs(node));
  }
  return undefined;
}

/** The axis of the scores that a softmax runs over; undefined where that cannot be told. */
export function softmaxAxis({ input, over }: SoftmaxForm, shapes: Shapes): number | undefined {
  const rank = shapes.shape(input)?.length;
  if (rank === undefined) return undefined;
  if (!over.is('ReduceSum')) return frontAxis(over.int('axis') ?? -1, rank);
  const axes = shapes.context(over).numbers(1, 'axes');
  return axes?.length === 1 && axes[0] !== undefined ? frontAxis(axes[0], rank) : undefined;
}
