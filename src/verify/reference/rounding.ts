/**
 * Scores as a model rounds them. A mask adds -10000, or the lowest number of a
 * type, to the scores of keys that are no tokens; the sum is rounded as numbers of that size are: to steps of 2^-10 in
 * float32, of 8 in float16. In a row that has other keys, that is nothing; in a row of padding alone, softmax takes the -10000
 * out again and what is left of the scores is those steps.
 *
 * So there are two right results: of exact scores, where a kernel adds in a wider type, and of scores that are rounded to the
 * nearest number of their type (IEEE 754). The second comes with a slack for scores that lie so near the middle of two numbers
 * that the model's own may go to the other one: with e for the error of the product of queries and keys, the model has
 * round(s'), |s' - s| <= e, and since rounding is monotonic, slack = max(|round(s - e) - round(s)|, |round(s + e) - round(s)|).
 * For maps of such scores see `slackOfMaps`.
 */
import { DataType } from '../../onnx/data-types';
import type { Array64 } from './array';

/** Held here because a lookup of a global per number is slow in some hosts (node:vm contexts, so Jest). */
const { abs, max, min, exp, floor, fround, log2 } = Math;
const { isFinite: isFiniteNumber } = Number;

export interface Rounding {
  /** Element type of the scores. */
  readonly type: number;
  /** Rows of a map that slack moves by no more than this, over all keys, have none: the tolerance covers that. */
  readonly above: number;
}

/** Bits of a number, the leading one included, and the exponent of the smallest normal number and of the largest. */
const FORMATS: ReadonlyMap<number, { bits: number; least: number; most: number }> = new Map([
  [DataType.FLOAT16, { bits: 11, least: -14, most: 15 }],
  [DataType.BFLOAT16, { bits: 8, least: -126, most: 127 }],
  [DataType.FLOAT, { bits: 24, least: -126, most: 127 }],
]);

/** The nearest number of a type, the even one of two; infinite where that is too large. Others than floats stay. */
export function roundTo(type: number, x: number): number {
  if (type === DataType.FLOAT || !isFiniteNumber(x) || x === 0)
    return type === DataType.FLOAT ? fround(x) : x;
  const format = FORMATS.get(type);
  if (!format) return x;
  const { bits, least, most } = format;
  const step = 2 ** (max(floor(log2(abs(x))), least) - bits + 1);
  const [below, rest] = [floor(x / step), x / step - floor(x / step)];
  const up = rest > 0.5 || (rest === 0.5 && below % 2 !== 0);
  const rounded = (up ? below + 1 : below) * step;
  return abs(rounded) < 2 ** (most + 1) ? rounded : rounded * Number.POSITIVE_INFINITY;
}

/** Unit roundoff: half the distance of 1 and the next number. */
function roundoff(type: number): number {
  return 2 ** -(FORMATS.get(type)?.bits ?? 53);
}

/**
 * The error of a product of n terms: gamma_n times the sum of their sizes, gamma_n = n u / (1 - n u) (Higham, "Accuracy and
 * Stability of Numerical Algorithms", 2002, section 3.1), u that of float32 at best, since kernels add up in that; and that of
 * the result in its own type.
 */
export function roundingOfProduct(n: number, sizes: number, product: number, { type }: Rounding): number {
  const u = type === DataType.DOUBLE ? roundoff(type) : roundoff(DataType.FLOAT);
  return ((n * u) / (1 - n * u)) * sizes + roundoff(type) * abs(product);
}

/** The rounded sum of scores and what is added to them, and how far the model's own may be from it. */
export function roundedSum(x: Array64, terms: Float64Array, { type }: Rounding): Array64 {
  const data = new Float64Array(x.data.length);
  const slack = new Float64Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const sum = (x.data[i] as number) + (terms[i] as number);
    const e = x.slack?.[i] ?? 0;
    const rounded = roundTo(type, sum);
    const off = max(abs(roundTo(type, sum - e) - rounded), abs(roundTo(type, sum + e) - rounded));
    data[i] = rounded;
    // What overflows is no number: that is found as such.
    slack[i] = isFiniteNumber(off) ? off : 0;
  }
  return { shape: x.shape, data, slack };
}

/**
 * How far the softmax of scores x may be off where each may be off by d: exp(x_j + d_j) / (exp(x_j + d_j) + the sum of
 * exp(x_k - d_k) over the others) at most, and the same with the signs exchanged at least, since softmax grows with x_j and
 * falls with the others. To first order that is A_j (d_j + sum of A_k d_k), the condition of softmax (Blanchard, Higham and
 * Higham, "Accurately computing the log-sum-exp and softmax functions", IMA Journal of Numerical Analysis 41, 2021).
 */
export function slackOfMaps(
  x: Array64,
  slack: Float64Array,
  maps: Array64,
  { above }: Rounding,
): Float64Array {
  const T = x.shape.at(-1) ?? 1;
  const offs = new Float64Array(maps.data.length);
  const [high, low] = [new Float64Array(T), new Float64Array(T)];
  for (let row = 0; row < offs.length; row += T) {
    let largest = Number.NEGATIVE_INFINITY;
    for (let t = 0; t < T; t++) largest = max(largest, x.data[row + t] as number);
    let [highs, lows] = [0, 0];
    for (let t = 0; t < T; t++) {
      const [score, d] = [(x.data[row + t] as number) - largest, slack[row + t] as number];
      highs += high[t] = exp(score + d);
      lows += low[t] = exp(score - d);
    }
    let all = 0;
    for (let t = 0; t < T; t++) {
      const [h, l, exact] = [high[t] as number, low[t] as number, maps.data[row + t] as number];
      const most = h / (h + max(lows - l, 0));
      const least = l / (l + max(highs - h, 0));
      const off = max(most - exact, exact - least);
      offs[row + t] = isFiniteNumber(off) ? min(off, 1) : 0;
      all += offs[row + t] as number;
    }
    if (!(all > above)) offs.fill(0, row, row + T);
  }
  return offs;
}
