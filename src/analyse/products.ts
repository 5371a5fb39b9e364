import type { Node, Value } from '../ir';
import type { Dataflow } from './dataflow';

/** A product of two activations: scores are one (queries and keys), and the weighted sum of values is another. */
export interface ActivationProduct {
  readonly node: Node;
  readonly left: Value;
  readonly right: Value;
}

/** The node as a product of two values that both depend on data; undefined for anything else. */
export function activationProduct(node: Node, dataflow: Dataflow): ActivationProduct | undefined {
  const einsum = node.is('Einsum') && node.inputs.length === 2;
  const matMul = node.is('MatMul') || node.isFrom('com.microsoft', 'FusedMatMul');
  if (!einsum && !matMul) return undefined;
  const [left, right] = node.inputs;
  if (!left || !right || !dataflow.dependsOnData(left) || !dataflow.dependsOnData(right)) return undefined;
  return { node, left, right };
}
