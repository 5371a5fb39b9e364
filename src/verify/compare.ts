/** Comparing what a model gives with what it should give: in float64, output by output, every number accounted for. */
import { DataType, dataTypeName } from '../onnx/data-types';
import { elementCount, type Tensor, toFloat64 } from './tensor';
import { type Tolerance, toleranceFor } from './tolerance';

/** Held here because a lookup of a global per number is slow in some hosts (node:vm contexts, so Jest). */
const { abs, max, min, sqrt, floor } = Math;
const { isFinite: isFiniteNumber, isNaN: isNotANumber, MAX_VALUE } = Number;

export interface TensorComparison {
  readonly passed: boolean;
  /** Why the two cannot be compared number by number; the numbers below are then NaN and 0. */
  readonly mismatch: string | undefined;
  readonly tolerance: Tolerance;
  /** The most that an element may be off beyond the tolerance, where the scores it comes from are rounded coarsely; else 0. */
  readonly slack: number;
  /** max |actual - expected| */
  readonly maxAbs: number;
  /** max |actual - expected| / max(|expected|, rms(expected)): one number near zero does not make the error large. */
  readonly maxRelative: number;
  /** sqrt(mean((actual - expected)^2)) */
  readonly rms: number;
  /** expected . actual / (|expected| |actual|); 1 where both are zero. */
  readonly cosine: number;
  /** Share of rows along the last axis whose largest number stands at the same place; undefined where rows have one. */
  readonly top1: number | undefined;
  /** Elements that are NaN, or infinite, on one side only or with the other sign. */
  readonly nanMismatches: number;
  readonly infinityMismatches: number;
  /** Elements that are finite on both sides: 0 means that no number was compared. */
  readonly finite: number;
  /** Elements out of tolerance, those included. */
  readonly failures: number;
  readonly worst: Worst | undefined;
}

/** The first NaN or infinity mismatch, else the first element with the largest error in units of its tolerance. */
export interface Worst {
  readonly index: readonly number[];
  readonly expected: number;
  readonly actual: number;
}

export interface Comparison {
  readonly passed: boolean;
  readonly outputs: Readonly<Record<string, TensorComparison>>;
}

/**
 * Compares named outputs. An output that one side lacks fails.
 * @param tolerance for all outputs. Default: by the element type of each expected output, see `toleranceFor`
 */
export function compare(
  expected: Readonly<Record<string, Tensor>>,
  actual: Readonly<Record<string, Tensor>>,
  tolerance?: Tolerance,
): Comparison {
  const names = new Set([...Object.keys(expected), ...Object.keys(actual)]);
  const outputs = Object.fromEntries(
    [...names].map((name) => [name, compareTensors(expected[name], actual[name], tolerance)] as const),
  );
  return { passed: Object.values(outputs).every(({ passed }) => passed), outputs };
}

/**
 * Compares two tensors. An element passes where |actual - expected| <= atol + rtol * |expected|; NaN passes against
 * NaN only, an infinity against the same infinity only, and they enter no other number of the result.
 * @param slack what each element may be off besides
 */
export function compareTensors(
  expected: Tensor | undefined,
  actual: Tensor | undefined,
  tolerance: Tolerance = toleranceFor(expected?.dtype),
  slack?: Float64Array,
): TensorComparison {
  const mismatch = mismatchOf(expected, actual);
  if (!expected || !actual || mismatch !== undefined) return incomparable(mismatch, tolerance);
  const e = toFloat64(expected);
  const a = toFloat64(actual);
  const counts = countDifferences(e, a, tolerance, slack);
  return {
    passed: counts.failures === 0,
    mismatch: undefined,
    tolerance,
    slack: slack?.reduce((most, each) => max(most, each), 0) ?? 0,
    ...counts.numbers,
    top1: isFloat(expected.dtype) ? top1Agreement(e, a, expected.shape) : undefined,
    failures: counts.failures,
    worst: worstElement(counts.worst, e, a, expected.shape),
  };
}

function mismatchOf(expected: Tensor | undefined, actual: Tensor | undefined): string | undefined {
  if (!expected) return 'not expected';
  if (!actual) return 'missing';
  if (expected.dtype !== actual.dtype)
    return `element type ${dataTypeName(actual.dtype)} where ${dataTypeName(expected.dtype)} was expected`;
  const { shape } = expected;
  if (shape.length !== actual.shape.length || shape.some((size, axis) => size !== actual.shape[axis]))
    return `shape [${actual.shape}] where [${shape}] was expected`;
  return undefined;
}

function incomparable(mismatch: string | undefined, tolerance: Tolerance): TensorComparison {
  const none = { maxAbs: Number.NaN, maxRelative: Number.NaN, rms: Number.NaN, cosine: Number.NaN };
  const counts = { nanMismatches: 0, infinityMismatches: 0, finite: 0, failures: 0 };
  return {
    passed: false,
    mismatch,
    tolerance,
    slack: 0,
    ...none,
    top1: undefined,
    ...counts,
    worst: undefined,
  };
}

/** One pass over all elements; `worst` is a flat index, -1 where no element differs. */
function countDifferences(
  e: Float64Array,
  a: Float64Array,
  { atol, rtol }: Tolerance,
  slack: Float64Array | undefined,
) {
  const expectedRms = finiteRms(e);
  let [maxAbs, maxRelative, squares, finite] = [0, 0, 0, 0];
  let [dot, expectedSquares, actualSquares] = [0, 0, 0];
  let [nanMismatches, infinityMismatches, failures] = [0, 0, 0];
  let [worst, worstExcess] = [-1, 0];
  for (let i = 0; i < e.length; i++) {
    const wanted = e[i] as number;
    const given = a[i] as number;
    if (!isFiniteNumber(wanted) || !isFiniteNumber(given)) {
      if (Object.is(wanted, given)) continue;
      if (isNotANumber(wanted) || isNotANumber(given)) nanMismatches++;
      else infinityMismatches++;
      failures++;
      if (worstExcess < Number.POSITIVE_INFINITY) [worst, worstExcess] = [i, Number.POSITIVE_INFINITY];
      continue;
    }
    const difference = abs(given - wanted);
    finite++;
    squares += difference * difference;
    dot += wanted * given;
    expectedSquares += wanted * wanted;
    actualSquares += given * given;
    if (difference === 0) continue;
    maxAbs = max(maxAbs, difference);
    maxRelative = max(maxRelative, difference / max(abs(wanted), expectedRms));
    const allowed = atol + rtol * abs(wanted) + (slack?.[i] ?? 0);
    if (difference > allowed) failures++;
    // With tolerance 0 every difference is infinitely out: the largest one is still told apart from the rest.
    const excess = min(difference / max(allowed, 1e-280), MAX_VALUE);
    if (excess > worstExcess) [worst, worstExcess] = [i, excess];
  }
  const norms = sqrt(expectedSquares) * sqrt(actualSquares);
  const cosine = norms > 0 ? dot / norms : expectedSquares === actualSquares ? 1 : 0;
  const rms = finite > 0 ? sqrt(squares / finite) : 0;
  const numbers = { maxAbs, maxRelative, rms, cosine, nanMismatches, infinityMismatches, finite };
  return { numbers, failures, worst };
}

function finiteRms(values: Float64Array): number {
  let [squares, finite] = [0, 0];
  for (const value of values) {
    if (!isFiniteNumber(value)) continue;
    squares += value * value;
    finite++;
  }
  return finite > 0 ? sqrt(squares / finite) : 0;
}

function worstElement(
  flat: number,
  e: Float64Array,
  a: Float64Array,
  shape: readonly number[],
): Worst | undefined {
  if (flat < 0) return undefined;
  const index: number[] = [];
  let rest = flat;
  for (const size of [...shape].reverse()) {
    index.unshift(rest % size);
    rest = floor(rest / size);
  }
  return { index, expected: e[flat] as number, actual: a[flat] as number };
}

function top1Agreement(e: Float64Array, a: Float64Array, shape: readonly number[]): number | undefined {
  const width = shape.at(-1) ?? 1;
  if (width < 2 || elementCount(shape) === 0) return undefined;
  const rows = e.length / width;
  let agreeing = 0;
  for (let row = 0; row < rows; row++) {
    if (argmax(e, row * width, width) === argmax(a, row * width, width)) agreeing++;
  }
  return agreeing / rows;
}

/** Place of the first largest number of a row; NaN is never the largest. */
function argmax(values: Float64Array, start: number, width: number): number {
  let [best, bestValue] = [0, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < width; i++) {
    const value = values[start + i] as number;
    if (value > bestValue) [best, bestValue] = [i, value];
  }
  return best;
}

function isFloat(dtype: DataType): boolean {
  return (
    dtype === DataType.FLOAT ||
    dtype === DataType.DOUBLE ||
    dtype === DataType.FLOAT16 ||
    dtype === DataType.BFLOAT16
  );
}
