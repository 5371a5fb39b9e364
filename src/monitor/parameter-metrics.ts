import type { NumberedLayer } from '../attention/monitored';
import type { Model } from '../ir';
import { decodeFloats, isFloatType } from '../onnx/floats';

/** Metrics that need no run: norms of the lambda vectors, and lambda (arXiv 2410.05258, equation 2). */
export interface ParameterMetrics {
  readonly lambda_q1_norm: number;
  readonly lambda_k1_norm: number;
  readonly lambda_q2_norm: number;
  readonly lambda_k2_norm: number;
  /** exp(lambda_q1 . lambda_k1) */
  readonly lambda1: number;
  /** exp(lambda_q2 . lambda_k2) */
  readonly lambda2: number;
  readonly lambda_init: number;
  /** lambda1 - lambda2 + lambda_init */
  readonly lambda_full: number;
}

/** Those that are aggregated over all layers. */
const AGGREGATED = [
  ...(['lambda_q1_norm', 'lambda_k1_norm', 'lambda_q2_norm', 'lambda_k2_norm'] as const),
  ...(['lambda1', 'lambda2', 'lambda_full'] as const),
];

/** The metrics of a layer from its parameters; undefined where it has no lambda vectors. */
export function parameterMetrics(
  model: Model,
  { path }: Pick<NumberedLayer, 'path'>,
): ParameterMetrics | undefined {
  const vectors = ['lambda_q1', 'lambda_k1', 'lambda_q2', 'lambda_k2', 'lambda_init'].map((suffix) =>
    storedNumbers(model, `${path}.${suffix}`),
  );
  const [q1, k1, q2, k2, init] = vectors;
  const lambdaInit = init?.[0];
  if (!q1 || !k1 || !q2 || !k2 || lambdaInit === undefined) return undefined;
  const [lambda1, lambda2] = [Math.exp(dot(q1, k1)), Math.exp(dot(q2, k2))];
  return {
    lambda_q1_norm: Math.sqrt(dot(q1, q1)),
    lambda_k1_norm: Math.sqrt(dot(k1, k1)),
    lambda_q2_norm: Math.sqrt(dot(q2, q2)),
    lambda_k2_norm: Math.sqrt(dot(k2, k2)),
    lambda1,
    lambda2,
    lambda_init: lambdaInit,
    lambda_full: lambda1 - lambda2 + lambdaInit,
  };
}

/**
 * Mean and sample standard deviation over all layers, by the original's names, of what all of them have. It aggregates
 * the lambda that it has computed with, so `lambda_full` is mixed here, other than that of a single layer. Of one layer,
 * deviations are NaN.
 */
export function aggregates(
  layers: readonly Partial<ParameterMetrics>[],
  mix: number,
): Record<string, number> {
  return Object.fromEntries(
    AGGREGATED.flatMap((name) => {
      const values = layers.flatMap((layer) => layer[name] ?? []);
      if (values.length === 0 || values.length < layers.length) return [];
      const factor = name === 'lambda_full' ? mix : 1;
      const mean = values.reduce((sum, value) => sum + factor * value, 0) / values.length;
      const squares = values.reduce((sum, value) => sum + (factor * value - mean) ** 2, 0);
      return [
        [`aggregate/${name}_mean`, mean],
        [`aggregate/${name}_std`, Math.sqrt(squares / (values.length - 1))],
      ] as const;
    }),
  );
}

/** The numbers of a stored parameter; undefined where there is none. */
export function storedNumbers(model: Model, name: string): readonly number[] | undefined {
  const tensor = model.graph.values.get(name)?.initializer;
  const type = tensor?.dataType;
  return tensor && isFloatType(type) ? [...decodeFloats(type, model.bytes(tensor))] : undefined;
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
}
