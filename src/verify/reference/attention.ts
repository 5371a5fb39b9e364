/** The parts of attention, in plain loops. Letters as in SPEC section 1: B batch, H heads, S query, T key, D width. */
import { type Array64, assertSameShape, at, broadcastTo, size, splitShape } from './array';
import { type Rounding, roundedSum, roundingOfProduct, slackOfMaps } from './rounding';

/** Held here because a lookup of a global per number is slow in some hosts (node:vm contexts, so Jest). */
const { abs, max, exp, sqrt } = Math;

/**
 * Query times key, scaled, plus what the model adds: bias, mask, positions.
 * @param Q_BHSD any leading axes before the last two
 * @param K_BHTD the same leading axes: heads that a group shares are repeated before, see `repeatHeads`
 * @param bias broadcastable to [B, H, S, T]
 * @param rounding how the model rounds the sum. Default: not at all
 * @returns [B, H, S, T]
 */
export function scores(
  Q_BHSD: Array64,
  K_BHTD: Array64,
  scale: number,
  bias?: Array64,
  rounding?: Rounding,
): Array64 {
  if (!bias) return products(Q_BHSD, K_BHTD, scale);
  return added(products(Q_BHSD, K_BHTD, scale, rounding), bias, rounding);
}

/** The same before anything is added; with the error of each product as its slack, where it is rounded. */
export function products(Q_BHSD: Array64, K_BHTD: Array64, scale: number, rounding?: Rounding): Array64 {
  const { leading, last } = splitShape(Q_BHSD, 2);
  const [S, D] = last as [number, number];
  const T = splitShape(K_BHTD, 2).last[0] as number;
  assertSameShape(K_BHTD.shape, [...leading, T, D]);
  const shape = [...leading, S, T];
  const data = new Float64Array(size(shape));
  const slack = new Float64Array(rounding ? data.length : 0);
  for (let head = 0; head < size(leading); head++) {
    for (let s = 0; s < S; s++) {
      for (let t = 0; t < T; t++) {
        let [dot, sizes] = [0, 0];
        for (let d = 0; d < D; d++) {
          const term = at(Q_BHSD, (head * S + s) * D + d) * at(K_BHTD, (head * T + t) * D + d);
          dot += term;
          sizes += abs(term);
        }
        const i = (head * S + s) * T + t;
        data[i] = scale * dot;
        if (rounding) slack[i] = roundingOfProduct(D, abs(scale) * sizes, data[i], rounding);
      }
    }
  }
  return rounding ? { shape, data, slack } : { shape, data };
}

/** Adds what is broadcast to scores, as the model rounds the sum. */
export function added(x: Array64, bias: Array64, rounding?: Rounding): Array64 {
  const { shape } = x;
  const terms = broadcastTo(bias, shape).data;
  if (rounding) return roundedSum(x, terms, rounding);
  return { shape, data: x.data.map((value, i) => value + (terms[i] as number)) };
}

/**
 * exp(x) / sum(exp(x)) over the last axis. A row of nothing but -Infinity gives NaN, as ONNX's Softmax does; a model that
 * guards against it has nodes of its own for that.
 * @param rounding of the scores, where they have slack
 */
export function softmax(x: Array64, rounding?: Rounding): Array64 {
  const T = x.shape.at(-1) ?? 1;
  const data = new Float64Array(x.data.length);
  for (let row = 0; row < data.length; row += T) {
    let largest = Number.NEGATIVE_INFINITY;
    for (let t = 0; t < T; t++) largest = max(largest, at(x, row + t));
    let sum = 0;
    for (let t = 0; t < T; t++) sum += exp(at(x, row + t) - largest);
    for (let t = 0; t < T; t++) data[row + t] = exp(at(x, row + t) - largest) / sum;
  }
  const maps = { shape: x.shape, data };
  return rounding && x.slack ? { ...maps, slack: slackOfMaps(x, x.slack, maps, rounding) } : maps;
}

/**
 * Attention weights times values.
 * @param A_BHST any leading axes before the last two
 * @param V_BHTD the same leading axes
 * @returns [B, H, S, D]
 */
export function weigh(A_BHST: Array64, V_BHTD: Array64): Array64 {
  const { leading, last } = splitShape(A_BHST, 2);
  const [S, T] = last as [number, number];
  const D = V_BHTD.shape.at(-1) as number;
  assertSameShape(V_BHTD.shape, [...leading, T, D]);
  const shape = [...leading, S, D];
  const data = new Float64Array(size(shape));
  const slack = new Float64Array(A_BHST.slack ? data.length : 0);
  for (let head = 0; head < size(leading); head++) {
    for (let s = 0; s < S; s++) {
      for (let d = 0; d < D; d++) {
        let [sum, off] = [0, 0];
        for (let t = 0; t < T; t++) {
          const [key, value] = [(head * S + s) * T + t, at(V_BHTD, (head * T + t) * D + d)];
          sum += at(A_BHST, key) * value;
          off += (A_BHST.slack?.[key] ?? 0) * abs(value);
        }
        data[(head * S + s) * D + d] = sum;
        if (A_BHST.slack) slack[(head * S + s) * D + d] = off;
      }
    }
  }
  return A_BHST.slack ? { shape, data, slack } : { shape, data };
}

/**
 * Root mean square normalisation over the last axis: x / sqrt(mean(x^2) + eps) * weight.
 * Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
 * Where x may be off by s, its root mean square r may be off by no more than rms(s), since it is a norm of (x, sqrt(D eps)):
 * so |x'/r' - x/r| <= (s + |x/r| rms(s)) / (r - rms(s)).
 * @param weight one number for each element of the last axis. Default: ones
 */
export function rmsNorm(x: Array64, eps: number, weight?: Float64Array): Array64 {
  const D = x.shape.at(-1) ?? 1;
  if (weight && weight.length !== D) throw new Error(`a norm weight of ${weight.length} for width ${D}`);
  const data = new Float64Array(x.data.length);
  const slack = x.slack && new Float64Array(data.length);
  for (let row = 0; row < data.length; row += D) {
    let [squares, offs] = [0, 0];
    for (let d = 0; d < D; d++) {
      squares += at(x, row + d) ** 2;
      offs += (x.slack?.[row + d] ?? 0) ** 2;
    }
    const root = sqrt(squares / D + eps);
    const off = sqrt(offs / D);
    const least = max(root - off, sqrt(eps));
    for (let d = 0; d < D; d++) {
      const normed = at(x, row + d) / root;
      const factor = weight?.[d] ?? 1;
      data[row + d] = normed * factor;
      if (slack) slack[row + d] = (((x.slack?.[row + d] ?? 0) + abs(normed) * off) / least) * abs(factor);
    }
  }
  return slack ? { shape: x.shape, data, slack } : { shape: x.shape, data };
}
