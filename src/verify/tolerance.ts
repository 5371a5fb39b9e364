/** How far two results may be apart, by what their model computes in. */
import { DataType } from '../onnx/data-types';
import { type Provider, type ProviderSpec, usesTf32 } from './providers';

export interface Tolerance {
  /** Allowed difference, absolute. */
  readonly atol: number;
  /** Allowed difference in units of the expected number. */
  readonly rtol: number;
}

/** What a model computes in, as far as rounding is concerned. Integers and booleans are compared exactly. */
export type Precision = 'float64' | 'float32' | 'float16' | 'bfloat16' | 'quantized' | 'exact';

/**
 * float64: lambda and the gain are float32 (SPEC section 1), and ONNX Runtime's fusions keep factors as float32 attributes.
 * Quantized: a rewrite re-groups sums, so a value near a boundary may fall on the other side of it.
 */
export const TOLERANCES: Readonly<Record<Precision, Tolerance>> = {
  float64: { atol: 1e-6, rtol: 1e-6 },
  float32: { atol: 1e-4, rtol: 1e-4 },
  float16: { atol: 2e-2, rtol: 2e-2 },
  bfloat16: { atol: 2e-2, rtol: 2e-2 },
  quantized: { atol: 2e-2, rtol: 2e-2 },
  exact: { atol: 0, rtol: 0 },
};

/**
 * What float32 results of a provider may be off by, where that is more than on the CPU. Double precision and what is
 * rounded to fewer bits already are as everywhere.
 * - webgpu: WGSL lets sin and cos of rotary positions be off by 2^-11 (https://www.w3.org/TR/WGSL/#concrete-float-accuracy).
 * - dml: Direct3D lets sin and cos be off by 0.0008.
 * - coreml: computes in float16 where it likes.
 * - tensorrt: reorders and fuses at will.
 */
const FLOAT32_ON: Readonly<Record<Provider, Tolerance>> = {
  cpu: TOLERANCES.float32,
  cuda: TOLERANCES.float32,
  tensorrt: { atol: 1e-3, rtol: 1e-3 },
  webgpu: { atol: 1e-3, rtol: 1e-3 },
  dml: { atol: 1e-3, rtol: 1e-3 },
  coreml: TOLERANCES.float16,
};

/** TF32 has 10 bits behind the point, as float16 has. */
const TF32: Tolerance = { atol: 1e-2, rtol: 1e-2 };

/** A tolerance of the CPU, as wide as a provider needs it. */
export function widenFor(spec: ProviderSpec, { atol, rtol }: Tolerance): Tolerance {
  if (atol < TOLERANCES.float32.atol && rtol < TOLERANCES.float32.rtol) return { atol, rtol };
  const least = usesTf32(spec) ? TF32 : FLOAT32_ON[spec.provider];
  return { atol: Math.max(atol, least.atol), rtol: Math.max(rtol, least.rtol) };
}

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
