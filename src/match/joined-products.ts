import {
  activationProduct,
  type Dataflow,
  einsumTerms,
  isLayout,
  isShapeReader,
  type Shapes,
  smallConstant,
} from '../analyse';
import type { Node, Value } from '../ir';

/**
 * Where one map weighs several things and all of it is put together again: values and relative positions that are added,
 * or keys of two kinds whose probabilities are cut apart for two products with values.
 */
export interface JoinedProducts {
  /** The products of the map, or of parts of it, with activations, in order. */
  readonly products: readonly { readonly product: Node; readonly probabilities: Value }[];
  /** The first value that holds all of it. It is linear in the probabilities. */
  readonly output: Value;
  /** What is weighed, and whatever else flows in between: the same for both components. */
  readonly operands: readonly Value[];
}

/**
 * Follows probabilities to the first value that all they flow into passes through, by way of what is linear in them.
 * @returns undefined where something else is computed from them, where somebody sees them, or where they never meet
 */
export function joinedProducts(start: Value, dataflow: Dataflow, shapes: Shapes): JoinedProducts | undefined {
  const graph = start.scope;
  const waiting = new Map<Value, Set<Node>>([[start, readersOf(start)]]);
  const linear = new Set([start]);
  const products: { product: Node; probabilities: Value }[] = [];
  const operands = new Set<Value>();
  const from = start.producer ? graph.indexOf(start.producer) + 1 : 0;
  if (start.isOutput) return undefined;
  for (const node of graph.nodes.slice(from)) {
    const read = node.inputs.filter((input) => input !== undefined && linear.has(input));
    const [probabilities] = read;
    if (!probabilities || isShapeReader(node)) continue;
    if (!isLinear(node, linear, shapes)) return undefined;
    if (activationProduct(node, dataflow)) products.push({ product: node, probabilities });
    for (const value of node.inputs) {
      if (!value) continue;
      if (!linear.has(value)) operands.add(value);
      const left = waiting.get(value);
      left?.delete(node);
      if (left?.size === 0) waiting.delete(value);
    }
    const [output] = node.outputs;
    const joined = products.length > 0 && waiting.size === 0 && node.outputs.length === 1;
    if (joined && output) return { products, output, operands: [...operands] };
    for (const each of node.outputs) {
      if (!each) continue;
      if (each.isOutput) return undefined;
      linear.add(each);
      const readers = readersOf(each);
      if (readers.size > 0) waiting.set(each, readers);
    }
  }
  return undefined;
}

/** Those in bodies are never met: what is handed into a body does not come together again. */
function readersOf(value: Value): Set<Node> {
  return new Set(value.readers.filter((reader) => !isShapeReader(reader)));
}

/** Operators that give the sum of what they give for each operand, whatever else the operands are. */
const SUMS = ['Add', 'Sub', 'Sum', 'Concat'];

/** Operators that are linear in their first operand, the others given. */
const OF_THE_FIRST = ['Cast', 'Div', 'Dropout', 'Neg', 'ReduceMean', 'ReduceSum'];

/** True for operators that give a multiple of what they give where everything `linear` is multiplied. */
function isLinear(node: Node, linear: ReadonlySet<Value>, shapes: Shapes): boolean {
  const reads = node.inputs.map((input) => input !== undefined && linear.has(input));
  const only = reads.filter(Boolean).length === 1;
  if (node.domain !== '') return node.isFrom('com.microsoft', 'FusedMatMul') && only;
  if (SUMS.includes(node.opType)) return reads.every(Boolean);
  if (node.is('Mul', 'MatMul')) return only;
  if (node.is('Einsum')) {
    const ranks = node.inputs.map((input) => shapes.shape(input)?.length);
    return only && einsumTerms(node, ranks) !== undefined;
  }
  if (node.is('Pad')) return only && reads[0] === true && padsWithZero(node, shapes);
  return (OF_THE_FIRST.includes(node.opType) || isLayout(node)) && only && reads[0] === true;
}

function padsWithZero(node: Node, shapes: Shapes): boolean {
  if ((node.string('mode') ?? 'constant') !== 'constant') return true;
  const [, , value] = node.inputs;
  if (!value) return (node.float('value') ?? 0) === 0;
  return smallConstant(shapes.model, value)?.values.every((element) => element === 0) === true;
}
