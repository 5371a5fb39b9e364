import type { Node } from '../../ir';

/** What a fused operator takes at one of its inputs, by its documentation. */
export type OperatorInput =
  /** True or 1 for keys that are seen, or a float that is added to scores. */
  | 'mask'
  /** A mask of integers, or, of rank 1, how many keys each example has. */
  | 'mask-index'
  /** Added to scores. */
  | 'bias'
  /** Keys or values of earlier tokens. */
  | 'past'
  /** How many keys each example has. */
  | 'lengths'
  /** How many tokens there are, past and present; and the same less one. */
  | 'total'
  | 'total-less-one'
  /** How many tokens there were. */
  | 'past-length'
  /** Where new keys are written: 0 is a place in any cache. */
  | 'place'
  | 'positions';

const INPUTS: Readonly<Record<string, Readonly<Record<number, OperatorInput>>>> = {
  Attention: { 3: 'mask', 4: 'past', 5: 'past', 6: 'lengths' },
  RotaryEmbedding: { 3: 'positions' },
  TensorScatter: { 2: 'place' },
  'com.microsoft.Attention': { 3: 'mask-index', 4: 'past', 5: 'bias', 6: 'past-length' },
  'com.microsoft.QAttention': { 5: 'mask-index', 8: 'past' },
  'com.microsoft.MultiHeadAttention': {
    ...{ 4: 'mask-index', 5: 'bias', 6: 'past', 7: 'past', 8: 'past-length' },
  },
  'com.microsoft.DecoderMaskedMultiHeadAttention': {
    ...{ 3: 'mask-index', 4: 'bias', 5: 'past', 6: 'past', 7: 'past-length' },
  },
  'com.microsoft.GroupQueryAttention': {
    ...{ 3: 'past', 4: 'past', 5: 'total-less-one', 6: 'total', 9: 'positions', 10: 'bias' },
  },
  'com.microsoft.SparseAttention': { 3: 'past', 4: 'past', 7: 'total', 8: 'total' },
  'com.microsoft.LongformerAttention': { 3: 'bias' },
  'com.microsoft.RotaryEmbedding': { 1: 'positions' },
  'com.microsoft.EmbedLayerNormalization': { 7: 'mask-index', 8: 'positions' },
};

/** What an operator takes at an input; undefined for anything that is not listed. */
export function operatorInput(node: Node, index: number): OperatorInput | undefined {
  return INPUTS[node.operator]?.[index];
}

/** Inputs of an operator that hold indices, each with the input that holds the table and the axis that is indexed. */
const INDICES: Readonly<Record<string, readonly { indices: number; table: number }[]>> = {
  Gather: [{ indices: 1, table: 0 }],
  GatherElements: [{ indices: 1, table: 0 }],
  GatherND: [{ indices: 1, table: 0 }],
  Scatter: [{ indices: 1, table: 0 }],
  ScatterElements: [{ indices: 1, table: 0 }],
  ScatterND: [{ indices: 1, table: 0 }],
  'com.microsoft.GatherBlockQuantized': [{ indices: 1, table: 0 }],
  'com.microsoft.EmbedLayerNormalization': [
    { indices: 0, table: 2 },
    { indices: 1, table: 4 },
  ],
};

export function tablesOf(node: Node): readonly { indices: number; table: number }[] {
  return INDICES[node.operator] ?? [];
}
