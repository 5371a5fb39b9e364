/** What an input of a transformer means, as far as making tensors for it goes. */
import { DataType } from '../../onnx/data-types';
import type { TensorDescription } from '../tensor';

export type Role =
  /** Indices into an embedding: integers from `lowest` (default 0) on, `vocabulary` of them. */
  | { readonly kind: 'ids'; readonly vocabulary: number; readonly lowest?: number }
  /**
   * Which keys are tokens: 1 and 0 (`keep`, the default), 0 and 1 (`hide`), or 0 and a large negative number that is
   * added to the scores (`additive`). Batch on the first axis where there are two, keys on the last.
   */
  | { readonly kind: 'mask'; readonly form?: 'keep' | 'hide' | 'additive' }
  /** Counted from the length of the past; where a table is read at them, they are less than `bound`. */
  | { readonly kind: 'positions'; readonly bound?: number }
  /**
   * A key or value cache: batch first, then heads, length, width, unless `axis` says where the length stands. `whole`:
   * nothing is put behind it, so that it is as long as what it was computed from.
   */
  | { readonly kind: 'past'; readonly axis?: number; readonly whole?: boolean }
  /** Embeddings, pixels, features, states of convolutions: normally distributed numbers. */
  | { readonly kind: 'data' }
  /** The warm-up input `diff_attn_mix`: the case's mix. */
  | { readonly kind: 'mix' }
  /** The length of past and present together, plus an offset: com.microsoft's GroupQueryAttention has such inputs. */
  | { readonly kind: 'total-length'; readonly offset: number }
  /** The length of the past. */
  | { readonly kind: 'past-length' }
  /** How many of the keys of each example are tokens; `keys`: how many there are, where it is not past and present. */
  | { readonly kind: 'key-lengths'; readonly keys?: number }
  /** Chooses the branch of a merged decoder: whether there is a past. */
  | { readonly kind: 'has-past' }
  /** Chooses a branch of anything else: tried both ways. */
  | { readonly kind: 'switch' }
  | { readonly kind: 'constant'; readonly value: number };

export interface FeedInput extends TensorDescription {
  readonly role: Role;
}

/** Where the vocabulary is not known: the smallest real one is larger. */
export const SAFE_VOCABULARY = 32;

/** A role by name, type and shape alone, for inputs that the graph says nothing about. */
export function guessRole({ name, dtype, shape }: TensorDescription): Role {
  if (name === 'diff_attn_mix') return { kind: 'mix' };
  if (/use_cache_branch/.test(name)) return { kind: 'has-past' };
  if (/seqlens_k/.test(name)) return { kind: 'total-length', offset: -1 };
  if (/total_seq(uence)?_len/.test(name)) return { kind: 'total-length', offset: 0 };
  // The type vocabulary may be 1, as RoBERTa's is.
  if (/token_type|segment/.test(name)) return { kind: 'constant', value: 0 };
  if (/cache_position|position|^pos(_|$)/.test(name) && isInteger(dtype)) return { kind: 'positions' };
  if (/past|cache|(^|[._])mems?([._]|$)/.test(name) && isFloat(dtype) && shape.length >= 3)
    return { kind: 'past' };
  if (/mask/.test(name) || (dtype === DataType.BOOL && shape.length >= 2))
    return { kind: 'mask', ...(isFloat(dtype) && shape.length >= 3 ? { form: 'additive' } : {}) };
  if (dtype === DataType.BOOL) return { kind: 'switch' };
  if (isInteger(dtype) && shape.length === 0) return { kind: 'constant', value: 1 };
  return isInteger(dtype) ? { kind: 'ids', vocabulary: SAFE_VOCABULARY } : { kind: 'data' };
}

export function isInteger(dtype: DataType): boolean {
  return dtype === DataType.INT64 || dtype === DataType.INT32;
}

export function isFloat(dtype: DataType): boolean {
  return (
    dtype === DataType.FLOAT ||
    dtype === DataType.FLOAT16 ||
    dtype === DataType.BFLOAT16 ||
    dtype === DataType.DOUBLE
  );
}
