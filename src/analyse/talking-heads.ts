import { type Node, pushAll, type Value } from '../ir';
import { type Dataflow, inOrder, isShapeReader } from './dataflow';
import { einsumTerms } from './einsum';
import { activationProduct } from './products';
import { followViews } from './provenance';
import type { Shapes } from './shapes';
import type { Atom, View } from './view';

/**
 * Talking heads (arXiv 2003.02436): a linear layer over the heads, between the scores and the softmax or behind it. It
 * looks like any other linear layer; what tells it apart is that queries and keys keep axes of their own.
 */

/** How far a search goes back: scores are a few operators away from their softmax. */
const MOST_NODES = 64;

/** Of so many inputs of one node a search goes on with the last: whatever has more of them combines no heads. */
const MOST_INPUTS = 256;

/** True for a product of one value that depends on data with one that does not. */
export function isLinearMix(node: Node, dataflow: Dataflow): boolean {
  if (!node.is('MatMul', 'Einsum', 'Conv', 'Gemm')) return false;
  const [left, right] = node.inputs;
  return dataflow.dependsOnData(left) !== dataflow.dependsOnData(right);
}

/**
 * Products of two activations before a softmax whose two axes, those of queries and keys, are axes of the scores
 * still, with linear layers on the way that combine others.
 */
export function productsBehindMixes(input: Value, dataflow: Dataflow, shapes: Shapes): Node[] {
  const nodes = new Set<Node>();
  const products: Node[] = [];
  const open = [input];
  let mixed = false;
  for (let value = open.pop(); value && nodes.size < MOST_NODES; value = open.pop()) {
    const node = value.producer;
    if (!node || nodes.has(node) || node.graph !== input.scope || !dataflow.dependsOnData(value)) continue;
    if (activationProduct(node, dataflow)) {
      products.push(node);
      continue;
    }
    nodes.add(node);
    mixed ||= isLinearMix(node, dataflow);
    if (isShapeReader(node)) continue;
    pushAll(
      open,
      node.inputs.slice(-MOST_INPUTS).filter((each) => each !== undefined),
    );
  }
  if (!mixed || products.length === 0) return [];
  const path = inOrder(input.scope, nodes);
  return products.filter((product) => keepsBothAxes(product, input, path, shapes));
}

/**
 * Products of two activations behind probabilities, whose last two axes are axes of what is multiplied still, with
 * linear layers on the way that combine others; and the operand.
 */
export function productsAheadOfMixes(
  probabilities: Value,
  dataflow: Dataflow,
  shapes: Shapes,
): { readonly product: Node; readonly operand: Value }[] {
  const nodes = new Set<Node>();
  const found: { product: Node; operand: Value }[] = [];
  const open = [probabilities];
  let mixed = false;
  for (let value = open.pop(); value && nodes.size < MOST_NODES; value = open.pop()) {
    for (const { node } of value.uses) {
      if (nodes.size >= MOST_NODES) break;
      if (nodes.has(node) || isShapeReader(node) || node.graph !== probabilities.scope) continue;
      if (activationProduct(node, dataflow)) {
        if (!found.some((each) => each.product === node && each.operand === value))
          found.push({ product: node, operand: value });
        continue;
      }
      mixed ||= isLinearMix(node, dataflow);
      nodes.add(node);
      pushAll(
        open,
        node.outputs.flatMap((output) => output ?? []),
      );
    }
  }
  if (!mixed || found.length === 0) return [];
  const rank = shapes.shape(probabilities)?.length ?? 0;
  const path = inOrder(probabilities.scope, nodes);
  return found.filter(({ operand }) => keeps([rank - 2, rank - 1], probabilities, operand, path, shapes));
}

function keepsBothAxes(product: Node, target: Value, path: readonly Node[], shapes: Shapes): boolean {
  const output = product.outputs[0];
  const rank = shapes.shape(output)?.length;
  const own = rank === undefined ? [] : ownAxes(product, rank, shapes);
  return output !== undefined && own.length === 2 && keeps(own, output, target, path, shapes);
}

/** True if some axes of a value are axes of another one behind it. */
function keeps(
  wanted: readonly number[],
  source: Value,
  target: Value,
  path: readonly Node[],
  shapes: Shapes,
): boolean {
  const shape = shapes.shape(source);
  if (!shape) return false;
  const marked: View = {
    offset: 0,
    axes: shape.map((size, axis): Atom[] => [{ kind: 'lead', size, order: [axis] }]),
  };
  const arrived = followViews(shapes, new Map([[source, marked]]), path).get(target) ?? marked;
  if ('node' in arrived) return false;
  return wanted.every((axis) =>
    arrived.axes.some(
      ([atom, ...others]) => others.length === 0 && atom?.kind === 'lead' && atom.order?.join() === `${axis}`,
    ),
  );
}

/** The axes of a product that come from one operand alone: rows and columns. */
function ownAxes(product: Node, rank: number, shapes: Shapes): number[] {
  if (!product.is('Einsum')) return [rank - 2, rank - 1];
  const terms = einsumTerms(
    product,
    product.inputs.map((input) => shapes.shape(input)?.length),
  );
  const [a = '', b = ''] = terms?.inputs ?? [];
  return [...(terms?.output ?? '')].flatMap((letter, axis) =>
    a.includes(letter) === b.includes(letter) ? [] : [axis],
  );
}
