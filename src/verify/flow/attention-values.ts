import {
  activationProduct,
  type Candidate,
  type Dataflow,
  dataInputs,
  isShapeReader,
  softmaxForm,
} from '../../analyse';
import type { Node, Value } from '../../ir';

/** Where the attentions of a model stand, as far as its inputs may flow into them. */
export interface AttentionValues {
  /** What a softmax is taken of. */
  readonly scores: ReadonlySet<Value>;
  /** What a softmax gives, up to the product with values. */
  readonly maps: ReadonlySet<Value>;
  /** The products of queries with keys, and of maps with values. */
  readonly products: ReadonlySet<Node>;
  /** What flows into such a product, or into a fused operator, from the nearest linear layers on. */
  readonly sides: ReadonlySet<Value>;
  /** What flows into those layers, from the linear layers before them on. */
  readonly behindLayers: ReadonlySet<Value>;
}

/** Operators behind which another part of the model begins. */
const LINEAR = [
  ...['Conv', 'ConvInteger', 'ConvTranspose', 'Gemm', 'MatMul', 'MatMulInteger', 'QLinearMatMul', 'Einsum'],
  ...['MatMulNBits', 'FusedMatMul', 'GRU', 'LSTM', 'RNN'],
];

/** Finds the values around each attention; every value is visited once for each of the sets. */
export function attentionValues(candidates: readonly Candidate[], dataflow: Dataflow): AttentionValues {
  const scores = new Set<Value>();
  const maps = new Set<Value>();
  const products = new Set<Node>();
  const ends: Value[] = [];
  const isProduct = (node: Node) => activationProduct(node, dataflow) !== undefined;
  for (const { anchor, kind } of candidates) {
    if (kind === 'operator') {
      ends.push(...anchor.inputs.filter((input) => input !== undefined));
      continue;
    }
    const input = softmaxForm(anchor)?.input ?? anchor.inputs[0];
    if (input) scores.add(input);
    for (const output of anchor.outputs) if (output) maps.add(output);
  }
  backwards(scores, (node) => {
    if (!isProduct(node)) return !LINEAR.includes(node.opType);
    products.add(node);
    return false;
  });
  forwards(maps, (node) => {
    if (isProduct(node)) products.add(node);
    return !products.has(node) && !LINEAR.includes(node.opType);
  });
  for (const product of products) {
    const operands = product.inputs.filter((input) => input !== undefined && !maps.has(input));
    ends.push(...operands.flatMap((input) => input ?? []));
  }
  const layers = new Set<Node>();
  const sides = backwards(new Set(ends), (node) => {
    if (LINEAR.includes(node.opType)) layers.add(node);
    return !LINEAR.includes(node.opType);
  });
  const fed = new Set([...layers].flatMap((node) => (node.opType === 'Conv' ? [] : dataInputs(node))));
  const behindLayers = backwards(fed, (node) => !LINEAR.includes(node.opType));
  return { scores, maps, products, sides, behindLayers };
}

/** All values from which some are computed, without going behind nodes that are not entered; through the branches of an If. */
function backwards(start: ReadonlySet<Value>, enter: (node: Node) => boolean): Set<Value> {
  const found = new Set<Value>();
  const open = [...start];
  for (let value = open.pop(); value; value = open.pop()) {
    if (found.has(value)) continue;
    found.add(value);
    const node = value.producer;
    if (!node || isShapeReader(node) || !enter(node)) continue;
    if (node.is('If')) {
      for (const body of node.bodies.values())
        open.push(...body.outputs.slice(value.outputIndex, value.outputIndex + 1));
    } else open.push(...dataInputs(node));
  }
  return found;
}

/** Adds what is computed from some values, without going through nodes that are not entered. */
function forwards(values: Set<Value>, enter: (node: Node) => boolean): void {
  const open = [...values];
  for (let value = open.pop(); value; value = open.pop()) {
    for (const { node } of value.uses) {
      if (isShapeReader(node) || !enter(node)) continue;
      for (const output of node.outputs) {
        if (!output || values.has(output)) continue;
        values.add(output);
        open.push(output);
      }
    }
  }
}
