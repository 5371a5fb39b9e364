import { moduleOfNode, moduleOfParameter } from '../attention/path';
import type { Model, Node, Value } from '../ir';

/** A stored weight and the name that a PyTorch checkpoint has it under. */
export interface NamedWeight {
  readonly value: Value;
  /** Module path and parameter name. */
  readonly name: string;
  /** True where the graph stores the matrix [in, out] and the checkpoint [out, in]. */
  readonly transposed: boolean;
}

/**
 * Names of the stored weights of the main graph. Exporters keep the name of a parameter that is stored as PyTorch has
 * it; a matrix that they transposed gets a name of their own, and the module path is in the node that reads it.
 */
export function namedWeights(model: Model): NamedWeight[] {
  const found: NamedWeight[] = [];
  for (const value of model.graph.values.values()) {
    if (!value.isInitializer || !value.initializer) continue;
    if (moduleOfParameter(value.name)) {
      found.push({ value, name: value.name, transposed: false });
      continue;
    }
    const named = nameFromReaders(value);
    if (named) found.push(named);
  }
  return found;
}

function nameFromReaders(value: Value): NamedWeight | undefined {
  for (const { node, index } of value.uses) {
    const leaf = leafOf(node, index);
    const module = moduleOfNode(node);
    if (leaf && module) {
      const matrix = value.initializer?.dims.length === 2 && node.is('MatMul');
      return { value, name: `${module}.${leaf}`, transposed: matrix };
    }
  }
  return undefined;
}

/** What an input of an operator is called in the PyTorch module that became it. */
function leafOf(node: Node, index: number): string | undefined {
  if (node.is('MatMul')) return index === 1 ? 'weight' : undefined;
  if (node.is('Gemm', 'Conv', 'LayerNormalization', 'RMSNormalization', 'SimplifiedLayerNormalization')) {
    return index === 1 ? 'weight' : index === 2 ? 'bias' : undefined;
  }
  if (node.is('Gather')) return index === 0 ? 'weight' : undefined;
  return undefined;
}
