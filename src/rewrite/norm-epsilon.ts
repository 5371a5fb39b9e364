import { constantTensor, smallConstant } from '../analyse';
import type { Model, Node, Value } from '../ir';

/** Epsilon where no norm before the layer tells another: the paper's implementation. */
export const DEFAULT_EPSILON = 1e-5;

/**
 * The epsilon of the RMSNorm whose output is projected; undefined where something else is. Understood as an operator
 * (RMSNormalization, SimplifiedLayerNormalization) and written out: x / sqrt(mean(x^2) + eps) * weight.
 */
export function epsilonOfNorm(input: Value, model: Model): number | undefined {
  let value: Value | undefined = input;
  for (let steps = 0; value && steps < 6; steps++) {
    const node: Node | undefined = value.producer;
    if (!node) return undefined;
    if (node.opType === 'RMSNormalization' || node.opType === 'SimplifiedLayerNormalization') {
      return node.float('epsilon') ?? DEFAULT_EPSILON;
    }
    if (node.opType === 'SkipSimplifiedLayerNormalization') return node.float('epsilon');
    const written = writtenOutEpsilon(node, model);
    if (written !== undefined) return written;
    if (node.is('Cast', 'Reshape', 'Transpose', 'Identity', 'Flatten')) value = node.inputs[0];
    else if (node.is('Mul')) value = smallerBranch(node);
    else return undefined;
  }
  return undefined;
}

/** Of a product with a weight, the operand that is computed. */
function smallerBranch(node: Node): Value | undefined {
  const computed = node.inputs.filter((input) => input && !constantTensor(input));
  return computed.length === 1 ? computed[0] : undefined;
}

/** Mul(x, 1 / sqrt(mean + eps)) or Div(x, sqrt(mean + eps)), where the mean is of squares of x itself. */
function writtenOutEpsilon(node: Node, model: Model): number | undefined {
  if (!node.is('Mul', 'Div')) return undefined;
  for (const factor of node.inputs) {
    const other = node.inputs.find((input) => input !== factor);
    const root = factor && squareRoot(factor);
    const add = root?.producer;
    if (!add?.is('Add')) continue;
    const [epsilon] = add.inputs
      .map((input) => smallConstant(model, input))
      .filter((c) => c?.values.length === 1);
    const mean = add.inputs.find((input) => input?.producer?.is('ReduceMean'))?.producer;
    const square = mean?.inputs[0]?.producer;
    const squared = square?.is('Pow', 'Mul') ? square.inputs[0] : undefined;
    if (epsilon && squared && squared === other) return epsilon.values[0];
  }
  return undefined;
}

/** The argument of the square root behind Sqrt, Reciprocal(Sqrt), Div(1, Sqrt) or Pow(x, -0.5). */
function squareRoot(value: Value): Value | undefined {
  let node = value.producer;
  while (node?.is('Reciprocal', 'Div')) node = node.inputs[node.is('Div') ? 1 : 0]?.producer;
  return node?.is('Sqrt', 'Pow') ? node.inputs[0] : undefined;
}
