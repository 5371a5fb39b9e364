import type { Dim } from '../../analyse';
import type { IndexRange, MaskForm } from './numbers';
import type { OperatorInput } from './operator-inputs';

/** What the graph does with one of its inputs, as far as that says what the input is for. */
export interface InputUses {
  /** It is an index into tables; of several the smallest range. */
  index?: IndexRange;
  /** What is read at it multiplies features, as cosines of positions do. */
  multiplied: boolean;
  /** What is read at it are features. */
  features: boolean;
  /** It hides keys. */
  mask?: MaskForm;
  /** It is counted: its sine is taken, it is rotated by, or what it is larger than is seen. */
  positions: boolean;
  /** New keys or values are put behind it; the axis on which, where that can be told. */
  past?: { readonly axis: number | undefined };
  /** It is keys or values as it is; `whole` where nothing is put behind it. */
  whole: boolean;
  /** What fused operators take it for, with the offset that is added before. */
  readonly operators: {
    readonly input: OperatorInput;
    readonly offset: number;
    readonly keys: Dim | undefined;
  }[];
  /** Its elements are added up. */
  counted: boolean;
  /** It chooses the branch of an If. */
  condition: boolean;
  /** It is asked how often a Loop runs, or what a shape is. */
  shape: boolean;
}

export function noUses(): InputUses {
  const flags = { multiplied: false, features: false, positions: false, whole: false };
  return { ...flags, operators: [], counted: false, condition: false, shape: false };
}

/** The range that holds for both. */
export function narrower(a: IndexRange | undefined, b: IndexRange): IndexRange {
  if (!a) return b;
  const lowest = Math.max(a.lowest, b.lowest);
  const end = Math.min(a.lowest + a.count, b.lowest + b.count);
  return { lowest, count: Math.max(end - lowest, 1) };
}
