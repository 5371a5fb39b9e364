import { functionKey, type Graph, keyOfFunction, type Model, type Node, pushAll, type Value } from '../ir';
import { Dataflow, dataInputs } from './dataflow';
import { activationProduct } from './products';
import { Reaching } from './reaching';
import type { Shapes } from './shapes';
import { normalisedProduct, type SoftmaxForm, softmaxForm } from './softmax';
import { productsAheadOfMixes, productsBehindMixes } from './talking-heads';

/**
 * What looks like attention, counted by a rule that knows nothing of the recognisers: a softmax of something computed
 * from a product of two activations, whose result is multiplied with an activation again; or an operator that is an
 * attention by definition.
 */
export interface Candidate {
  /** The softmax, the last node of a softmax written out, or the fused operator. */
  readonly anchor: Node;
  readonly kind: 'softmax' | 'operator';
  /** True where a side depends on no feed but through its shape: queries that are learned, and the same for all inputs. */
  readonly learned: boolean;
}

const ATTENTION_OPERATORS: Record<string, readonly string[]> = {
  '': ['Attention'],
  'com.microsoft': [
    'Attention',
    'DecoderAttention',
    'DecoderMaskedMultiHeadAttention',
    'DecoderMaskedSelfAttention',
    'GroupQueryAttention',
    'LongformerAttention',
    'MultiHeadAttention',
    'PackedAttention',
    'PackedMultiHeadAttention',
    'PagedAttention',
    'QAttention',
    'QOrderedAttention',
    'SparseAttention',
  ],
};

/** Operators that end a search through arithmetic: what lies behind them belongs to another part of the model. */
const BARRIERS = new Set([
  'Conv',
  'Gemm',
  'LayerNormalization',
  'MatMulInteger',
  'MatMulNBits',
  'QLinearMatMul',
  'SkipLayerNormalization',
  'SkipSimplifiedLayerNormalization',
  'Softmax',
]);

/** Finds every candidate of a model, in the order in which the nodes stand. */
export function findCandidates(model: Model, dataflow: Dataflow, shapes: Shapes): Candidate[] {
  const found: Candidate[] = [];
  const products = new Products(dataflow);
  let throughShapes: Products | undefined;
  for (const graph of runScopes(model)) {
    for (const node of graph.nodes) {
      if (ATTENTION_OPERATORS[node.domain]?.includes(node.opType)) {
        found.push({ anchor: node, kind: 'operator', learned: false });
        continue;
      }
      const form = softmaxForm(node);
      if (!form) {
        const scores = normalisedProduct(node, (each) => activationProduct(each, dataflow) !== undefined);
        if (scores && products.comesFrom(scores))
          found.push({ anchor: node, kind: 'softmax', learned: false });
        continue;
      }
      if (products.isBetween(form) || products.isBetweenMixes(form, shapes)) {
        found.push({ anchor: node, kind: 'softmax', learned: false });
        continue;
      }
      throughShapes ??= new Products(new Dataflow(model, true));
      if (throughShapes.isBetween(form)) found.push({ anchor: node, kind: 'softmax', learned: true });
    }
  }
  return found;
}

/** The main graph, the functions that are called, and the bodies in them. */
function runScopes(model: Model): Graph[] {
  const scopes = [...model.graph.scopes()];
  const uncalled = new Map(model.functions.map((fn) => [keyOfFunction(fn.proto), fn]));
  for (const scope of scopes) {
    if (uncalled.size === 0) break;
    for (const { domain, opType, overload } of scope.nodes) {
      const key = functionKey(domain, opType, overload);
      pushAll(scopes, uncalled.get(key)?.body.scopes() ?? []);
      uncalled.delete(key);
    }
  }
  return scopes;
}

/** How finely features were quantized: goes round the product of which it becomes the scale. */
function isScale(value: Value): boolean {
  const { producer } = value;
  return producer?.is('DynamicQuantizeLinear') === true && producer.outputs[0] !== value;
}

/** Answers for all softmaxes of a model: whether a value comes from a product of two activations, or flows into one. */
class Products {
  readonly #behind: Reaching;
  readonly #ahead: Reaching;

  constructor(readonly dataflow: Dataflow) {
    this.#behind = new Reaching((value) => {
      const { producer } = value;
      if (!producer || BARRIERS.has(producer.opType) || isScale(value)) return false;
      if (activationProduct(producer, dataflow)) return true;
      return producer.is('MatMul', 'Einsum') ? false : dataInputs(producer);
    });
    this.#ahead = new Reaching(({ readers }) => {
      if (readers.some((reader) => activationProduct(reader, dataflow))) return true;
      return readers.flatMap((reader) =>
        BARRIERS.has(reader.opType) || reader.is('MatMul', 'Einsum', 'Shape', 'Size')
          ? []
          : reader.outputs.flatMap((output) => (output && !isScale(output) ? output : [])),
      );
    });
  }

  comesFrom(value: Value): boolean {
    return this.#behind.from(value);
  }

  isBetween({ node, input }: SoftmaxForm): boolean {
    const [output] = node.outputs;
    return output !== undefined && this.comesFrom(input) && this.#ahead.from(output);
  }

  /** With linear layers over the heads on the way, before the softmax or behind it. */
  isBetweenMixes({ node, input }: SoftmaxForm, shapes: Shapes): boolean {
    const { dataflow } = this;
    const [output] = node.outputs;
    if (!output) return false;
    const before = this.comesFrom(input) || productsBehindMixes(input, dataflow, shapes).length > 0;
    return before && (this.#ahead.from(output) || productsAheadOfMixes(output, dataflow, shapes).length > 0);
  }
}
