/** How far two results may be apart, by what their model computes in. */
import { DataType } from '../onnx/data-types';

export interface Tolerance {
  /** Allowed difference, absolute. */
  readonly atol: number;
  /** Allowed difference in units of the expected number. */
  readonly rtol: number;
}

/** What a model computes in, as far as rounding is concerned. Integers and booleans are compared exactly. */
export type Precision = 'float64' | 'float32' | 'float16' | 'bfloat16' | 'quantized' | 'exact';

/** Quantized: a rewrite re-groups sums, so a value near a boundary may fall on the other side of it. */
export const TOLERANCES: Readonly<Record<Precision, Tolerance>> = {
  float64: { atol: 1e-10, rtol: 1e-10 },
  float32: { atol: 1e-4, rtol: 1e-4 },
  float16: { atol: 2e-2, rtol: 2e-2 },
  bfloat16: { atol: 2e-2, rtol: 2e-2 },
  quantized: { atol: 2e-2, rtol: 2e-2 },
  exact: { atol: 0, rtol: 0 },
};

/**
 * The tolerance for an output by its own element type. A float32 output of a model that computes in float16 or in
 * integers needs that model's `Precision` instead, which the output does not show.
 */
export function toleranceFor(dtype: DataType | undefined): Tolerance {
  switch (dtype) {
    case DataType.DOUBLE:
      return TOLERANCES.float64;
    case DataType.FLOAT:
      return TOLERANCES.float32;
    case DataType.FLOAT16:
      return TOLERANCES.float16;
    case DataType.BFLOAT16:
      return TOLERANCES.bfloat16;
    default:
      return TOLERANCES.exact;
  }
}
