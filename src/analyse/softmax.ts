import { type Node, pushAll, type Value } from '../ir';
import { dataInputs } from './dataflow';
import { frontAxis } from './facts';
import { MOST_AROUND } from './limits';
import type { Shapes } from './shapes';

/** A softmax in whatever form: the operator, or written out in exponentials. */
export interface SoftmaxForm {
  /** The node that gives the probabilities. */
  readonly node: Node;
  /** The scores that are turned into them. */
  readonly input: Value;
  /** The node that normalises, which says over which axis: Softmax, LogSoftmax or a reduction. */
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

/** What gives the sum of exponentials: none of them is negative. */
const SUMS = ['ReduceSum', 'ReduceL1'];

/**
 * The softmax that ends in a node: a Softmax, Exp(LogSoftmax(x)), Exp(x - log of the sum of exponentials), or exponentials
 * divided by their sum, with a mask on them or something added to the sum.
 */
export function softmaxForm(node: Node): SoftmaxForm | undefined {
  const [first, second] = node.inputs;
  if (node.is('Softmax')) return first && { node, input: first, over: node };
  if (node.is('Exp')) return exponential(node, first?.producer);
  if (!first || !second) return undefined;
  if (node.is('Div')) return writtenOut(node, first, second);
  if (!node.is('Mul')) return undefined;
  const inverse = [first, second].findIndex((input) => input.producer?.is('Reciprocal'));
  const sum = node.inputs[inverse]?.producer?.inputs[0];
  const exponentials = node.inputs[1 - inverse];
  return sum && exponentials && writtenOut(node, exponentials, sum);
}

function exponential(node: Node, log: Node | undefined): SoftmaxForm | undefined {
  const [input, subtracted] = log?.inputs ?? [];
  if (!log || !input) return undefined;
  if (log.is('LogSoftmax')) return { node, input, over: log };
  const over = log.is('Sub') && subtracted && logOfSum(subtracted, input);
  return over ? { node, input, over } : undefined;
}

/** The node that sums the exponentials of some scores, of which a value is the logarithm; a maximum may be taken off before. */
function logOfSum(value: Value, scores: Value): Node | undefined {
  const isOf = (given: Value | undefined): boolean => {
    let at = given;
    for (let left = MOST_AROUND; at && at !== scores && left > 0; left--)
      at = at.producer?.is('Sub') ? at.producer.inputs[0] : undefined;
    return at === scores;
  };
  const sum = behind(value, (node) => node.is('ReduceLogSumExp', 'Log'));
  if (sum?.is('ReduceLogSumExp')) return isOf(sum.inputs[0]) ? sum : undefined;
  const reduced = behind(sum?.inputs[0], (node) => node.is(...SUMS));
  const exp = behind(reduced?.inputs[0], (node) => node.is('Exp'));
  return isOf(exp?.inputs[0]) ? reduced : undefined;
}

function writtenOut(node: Node, exponentials: Value, sum: Value): SoftmaxForm | undefined {
  const exp = behind(exponentials, (each) => each.is('Exp'));
  const input = exp?.inputs[0];
  if (!exp || !input) return undefined;
  const over = behind(sum, (each) => each.is(...SUMS) && behind(each.inputs[0], (at) => at === exp) === exp);
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
  const reduced = behind(sum, (each) => each.is(...SUMS));
  const summed = reduced && behind(reduced.inputs[0], (each) => each.is('Exp'));
  if (!product || !summed) return undefined;
  const weighs = product.inputs.some((input) => behind(input, (each) => each === summed) !== undefined);
  return weighs ? summed.inputs[0] : undefined;
}

/** The nearest node that is wanted, behind operators that may stand around a sum of exponentials. */
function behind(start: Value | undefined, wanted: (node: Node) => boolean): Node | undefined {
  const seen = new Set<Value>();
  const open = start ? [start] : [];
  for (let value = open.pop(); value && seen.size < MOST_AROUND; value = open.pop()) {
    const node = seen.has(value) ? undefined : value.producer;
    seen.add(value);
    if (!node) continue;
    if (wanted(node)) return node;
    if (node.is(...AROUND)) pushAll(open, dataInputs(node));
  }
  return undefined;
}

/** The axis of the scores that a softmax runs over; undefined where that cannot be told. */
export function softmaxAxis({ input, over }: SoftmaxForm, shapes: Shapes): number | undefined {
  const rank = shapes.shape(input)?.length;
  if (rank === undefined) return undefined;
  if (!over.is('ReduceLogSumExp', ...SUMS)) return frontAxis(over.int('axis') ?? -1, rank);
  const axes = shapes.context(over).numbers(1, 'axes');
  return axes?.length === 1 && axes[0] !== undefined ? frontAxis(axes[0], rank) : undefined;
}
