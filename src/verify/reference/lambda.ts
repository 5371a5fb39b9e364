import { type Array64, at } from './array';

/** lambda of SPEC section 1 (Differential Transformer, arXiv 2410.05258, equations 2 and 3). */

export interface LambdaParameters {
  /** Vectors of the width of q and k. */
  readonly lambda_q1: Float64Array;
  readonly lambda_k1: Float64Array;
  readonly lambda_q2: Float64Array;
  readonly lambda_k2: Float64Array;
  readonly lambda_init: number;
}

/** exp(lambda_q1 . lambda_k1) - exp(lambda_q2 . lambda_k2) + lambda_init */
export function lambdaOf(parameters: LambdaParameters): number {
  const { lambda_q1, lambda_k1, lambda_q2, lambda_k2, lambda_init } = parameters;
  return Math.exp(dot(lambda_q1, lambda_k1)) - Math.exp(dot(lambda_q2, lambda_k2)) + lambda_init;
}

/**
 * sigmoid(x W^T), one number for each token and head: unilm Diff-Transformer V2.
 * @param x [.., in]
 * @param weight [heads, in]
 */
export function sigmoidOf(x: Array64, weight: Array64): Array64 {
  const [heads, width] = weight.shape as [number, number];
  if (x.shape.at(-1) !== width) throw new Error(`lambda of ${width} features from ${x.shape.at(-1)}`);
  const data = new Float64Array((x.data.length / width) * heads);
  for (let i = 0; i < data.length; i++) {
    const [row, head] = [Math.floor(i / heads), i % heads];
    let logit = 0;
    for (let k = 0; k < width; k++) logit += at(x, row * width + k) * at(weight, head * width + k);
    data[i] = 1 / (1 + Math.exp(-logit));
  }
  return { shape: [...x.shape.slice(0, -1), heads], data };
}

/**
 * 0.8 - 0.6 * exp(-0.3 * depth)
 * @param depth the layer's 0-based rank
 */
export function lambdaInit(depth: number): number {
  return 0.8 - 0.6 * Math.exp(-0.3 * depth);
}

function dot(a: Float64Array, b: Float64Array): number {
  if (a.length !== b.length) throw new Error(`vectors of ${a.length} and ${b.length}`);
  return a.reduce((sum, value, i) => sum + value * (b[i] as number), 0);
}
