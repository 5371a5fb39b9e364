/** The parts of attention, in plain loops. Letters as in SPEC section 1: B batch, H heads, S query, T key, D width. */
import { type Array64, assertSameShape, at, broadcastTo, size, splitShape } from './array';

/** Held here because a lookup of a global per number is slow in some hosts (node:vm contexts, so Jest). */
const { max, exp, sqrt } = Math;

/**
 * Query times key, scaled, plus what the model adds: bias, mask, positions.
 * @param Q_BHSD any leading axes before the last two
 * @param K_BHTD the same leading axes: heads that a group shares are repeated before, see `repeatHeads`
 * @param bias broadcastable to [B, H, S, T]
 * @returns [B, H, S, T]
 */
export function scores(Q_BHSD: Array64, K_BHTD: Array64, scale: number, bias?: Array64): Array64 {
  const { leading, last } = splitShape(Q_BHSD, 2);
  const [S, D] = last as [number, number];
  const T = splitShape(K_BHTD, 2).last[0] as number;
  assertSameShape(K_BHTD.shape, [...leading, T, D]);
  const shape = [...leading, S, T];
  const data = new Float64Array(size(shape));
  for (let head = 0; head < size(leading); head++) {
    for (let s = 0; s < S; s++) {
      for (let t = 0; t < T; t++) {
        let dot = 0;
        for (let d = 0; d < D; d++)
          dot += at(Q_BHSD, (head * S + s) * D + d) * at(K_BHTD, (head * T + t) * D + d);
        data[(head * S + s) * T + t] = scale * dot;
      }
    }
  }
  if (bias) {
    const added = broadcastTo(bias, shape);
    for (let i = 0; i < data.length; i++) data[i] = (data[i] as number) + at(added, i);
  }
  return { shape, data };
}

/**
 * exp(x) / sum(exp(x)) over the last axis. A row of nothing but -Infinity gives NaN, as ONNX's Softmax does; a model that
 * guards against it has nodes of its own for that.
 */
export function softmax(x: Array64): Array64 {
  const T = x.shape.at(-1) ?? 1;
  const data = new Float64Array(x.data.length);
  for (let row = 0; row < data.length; row += T) {
    let largest = Number.NEGATIVE_INFINITY;
    for (let t = 0; t < T; t++) largest = max(largest, at(x, row + t));
    let sum = 0;
    for (let t = 0; t < T; t++) sum += exp(at(x, row + t) - largest);
    for (let t = 0; t < T; t++) data[row + t] = exp(at(x, row + t) - largest) / sum;
  }
  return { shape: x.shape, data };
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
  for (let head = 0; head < size(leading); head++) {
    for (let s = 0; s < S; s++) {
      for (let d = 0; d < D; d++) {
        let sum = 0;
        for (let t = 0; t < T; t++)
          sum += at(A_BHST, (head * S + s) * T + t) * at(V_BHTD, (head * T + t) * D + d);
        data[(head * S + s) * D + d] = sum;
      }
    }
  }
  return { shape, data };
}

/**
 * Root mean square normalisation over the last axis: x / sqrt(mean(x^2) + eps) * weight.
 * Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
 * @param weight one number for each element of the last axis. Default: ones
 */
export function rmsNorm(x: Array64, eps: number, weight?: Float64Array): Array64 {
  const D = x.shape.at(-1) ?? 1;
  if (weight && weight.length !== D) throw new Error(`a norm weight of ${weight.length} for width ${D}`);
  const data = new Float64Array(x.data.length);
  for (let row = 0; row < data.length; row += D) {
    let squares = 0;
    for (let d = 0; d < D; d++) squares += at(x, row + d) ** 2;
    const scale = 1 / sqrt(squares / D + eps);
    for (let d = 0; d < D; d++) data[row + d] = at(x, row + d) * scale * (weight?.[d] ?? 1);
  }
  return { shape: x.shape, data };
}
