import { constantTensor, type Shapes, smallConstant } from '../analyse';
import type { Node, Value } from '../ir';
import type { PlainScores } from './site';

/** Scale and bias where nothing else happens between the products, see `PlainScores`. */
export function plainScores(
  scores: Node,
  softmax: Node,
  probabilities: Value,
  shapes: Shapes,
): PlainScores | undefined {
  if (
    !scores.is('MatMul') ||
    !softmax.is('Softmax') ||
    ![-1, 3].includes(softmax.int('axis') ?? -1) ||
    probabilities !== softmax.outputs[0] ||
    shapes.shape(probabilities)?.length !== 4
  )
    return undefined;
  if (scores.inputs.some((input) => shapes.shape(input)?.length !== 4)) return undefined;
  let value = scores.outputs[0];
  let scale: PlainScores['scale'];
  let bias: Value | undefined;
  while (value && value !== softmax.inputs[0]) {
    const [reader] = value.readers;
    if (value.uses.size !== 1 || value.isOutput || !reader || reader.graph !== scores.graph) return undefined;
    const other = reader.inputs[0] === value ? reader.inputs[1] : reader.inputs[0];
    const divides = reader.is('Div') && reader.inputs[0] === value;
    if (other && (reader.is('Mul') || divides) && !scale && !bias && isScalar(other, shapes)) {
      scale = { operator: divides ? 'Div' : 'Mul', value: other };
    } else if (other && reader.is('Add') && !bias) {
      bias = other;
    } else {
      return undefined;
    }
    value = reader.outputs[0];
  }
  return value ? { scale, bias } : undefined;
}

function isScalar(value: Value, shapes: Shapes): boolean {
  const constant = smallConstant(shapes.model, value);
  return (
    constant?.values.length === 1 && (constantTensor(value) !== undefined || value.producer !== undefined)
  );
}
