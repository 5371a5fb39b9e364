import { functionKey, type Graph, keyOfFunction, type Model, type Node, pushAll, type Value } from '../ir';
import { Dataflow, dataInputs } from './dataflow';
import { activationProduct } from './products';
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
  let throughShapes: Dataflow | undefined;
  for (const graph of runScopes(model)) {
    for (const node of graph.nodes) {
      if (ATTENTION_OPERATORS[node.domain]?.includes(node.opType)) {
        found.push({ anchor: node, kind: 'operator', learned: false });
        continue;
      }
      const form = softmaxForm(node);
      if (!form) {
        const scores = normalisedProduct(node, (each) => activationProduct(each, dataflow) !== undefined);
        if (scores && comesFromProduct(scores, dataflow))
          found.push({ anchor: node, kind: 'softmax', learned: false });
        continue;
      }
      if (isBetweenProducts(form, dataflow) || isBetweenMixes(form, dataflow, shapes)) {
        found.push({ anchor: node, kind: 'softmax', learned: false });
        continue;
      }
      throughShapes ??= new Dataflow(model, true);
      if (isBetweenProducts(form, throughShapes))
        found.push({ anchor: node, kind: 'softmax', learned: true });
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

function isBetweenProducts({ node, input }: SoftmaxForm, dataflow: Dataflow): boolean {
  const [output] = node.outputs;
  return output !== undefined && comesFromProduct(input, dataflow) && flowsIntoProduct(output, dataflow);
}

/** With linear layers over the heads on the way, before the softmax or behind it. */
function isBetweenMixes(form: SoftmaxForm, dataflow: Dataflow, shapes: Shapes): boolean {
  const [output] = form.node.outputs;
  if (!output) return false;
  const before =
    comesFromProduct(form.input, dataflow) || productsBehindMixes(form.input, dataflow, shapes).length > 0;
  return (
    before &&
    (flowsIntoProduct(output, dataflow) || productsAheadOfMixes(output, dataflow, shapes).length > 0)
  );
}

function comesFromProduct(start: Value, dataflow: Dataflow): boolean {
  const seen = new Set<Value>();
  const open = [start];
  for (let value = open.pop(); value; value = open.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    const node = value.producer;
    if (!node || BARRIERS.has(node.opType)) continue;
    if (activationProduct(node, dataflow)) return true;
    if (!node.is('MatMul', 'Einsum')) pushAll(open, dataInputs(node));
  }
  return false;
}

function flowsIntoProduct(start: Value, dataflow: Dataflow): boolean {
  const seen = new Set<Value>();
  const open = [start];
  for (let value = open.pop(); value; value = open.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    for (const { node } of value.uses) {
      if (activationProduct(node, dataflow)) return true;
      if (BARRIERS.has(node.opType) || node.is('MatMul', 'Einsum', 'Shape', 'Size')) continue;
      pushAll(
        open,
        node.outputs.filter((output) => output !== undefined),
      );
    }
  }
  return false;
}
