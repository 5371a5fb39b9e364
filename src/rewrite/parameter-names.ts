import { moduleOfNode, moduleOfParameter } from '../attention/path';
import type { Model, Node, Use, Value } from '../ir';

/** A stored weight and the name that a PyTorch checkpoint has it under. */
export interface NamedWeight {
  readonly value: Value;
  /** Module path and parameter name. */
  readonly name: string;
  /** True where the graph stores the matrix [in, out] and the checkpoint [out, in]. */
  readonly transposed: boolean;
  /** What other modules that read it call it: tied weights have one key in a checkpoint, under any of them. */
  readonly otherNames: readonly string[];
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
      const otherNames = [...value.uses].flatMap((use) => nameByReader(value, use) ?? []);
      found.push({ value, name: handedOnAs(value) ?? value.name, transposed: false, otherNames });
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
      return { value, name: `${module}.${leaf}`, transposed: matrix, otherNames: [] };
    }
  }
  return undefined;
}

/** The name of a weight whose one reader is the module that has it under that name. */
function handedOnAs({ uses }: Value): string | undefined {
  const [only, ...more] = uses;
  const name = only?.node.is('Identity') && more.length === 0 ? only.node.outputs[0]?.name : undefined;
  return name !== undefined && moduleOfParameter(name) ? name : undefined;
}

/**
 * The name that a reader gives a stored weight: where several modules read one, each has another name for it. Vectors
 * that are added are biases, and vectors that are multiplied by are the weights of norms.
 */
export function nameByReader(value: Value, { node, index }: Use): string | undefined {
  // TorchScript hands a weight that it stores once on to each module that has it, under its name there.
  const handedOn = node.is('Identity') ? node.outputs[0]?.name : undefined;
  if (handedOn !== undefined && moduleOfParameter(handedOn)) return handedOn;
  const module = moduleOfNode(node);
  if (module === undefined) return undefined;
  const vector = value.initializer?.dims.length === 1;
  const written = vector ? (node.is('Add') ? 'bias' : node.is('Mul') ? 'weight' : undefined) : undefined;
  const leaf = leafOf(node, index) ?? written ?? moduleOfParameter(value.name)?.leaf;
  return leaf === undefined ? undefined : `${module}.${leaf}`;
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
