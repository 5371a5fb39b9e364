/** Weights and inputs of a random attention: they are drawn here, written into the graph, and read by the reference. */
import { DataType } from '../../../src/onnx';
import { decodeFloats, encodeFloats } from '../../../src/onnx/floats';
import { randomFill } from '../fixtures';
import { type AttentionCase, hiddenScore, sizesOf } from './plan';

export interface LinearNumbers {
  /** [out, in] */
  readonly weight: Float64Array;
  readonly bias: Float64Array | undefined;
}

/** Rows of a linear layer are heads in the order of the model, then widths. */
export interface LayerNumbers {
  readonly q: LinearNumbers;
  readonly k: LinearNumbers;
  readonly v: LinearNumbers;
  readonly out: LinearNumbers;
  readonly queryNorm: Float64Array;
  readonly keyNorm: Float64Array;
  /** Learned factor of each head where queries and keys have length 1. */
  readonly headScales: Float64Array;
  readonly sinks: Float64Array;
  /** Position biases: a slope for each head, or a row of a table [distance, head]. */
  readonly slopes: Float64Array;
  readonly table: Float64Array;
  /** [B, g, P, d] and [B, g, P, e] */
  readonly pastKeys: Float64Array;
  readonly pastValues: Float64Array;
}

/** Distances from -DISTANCES to DISTANCES have a bias of their own. */
export const DISTANCES = 2;

export interface CaseNumbers {
  readonly layers: readonly LayerNumbers[];
  /** [B, S, M] */
  readonly x: Float64Array;
  /** [B, T, M] */
  readonly memory: Float64Array;
  /** What the mask adds, [B, S, T]; 0 where a key is seen. */
  readonly mask: Float64Array;
  /** Number of keys at the end that are padding, for each batch. */
  readonly padding: readonly number[];
}

/** As the model stores them. */
export function rounded(plan: AttentionCase, values: Iterable<number>): Float64Array {
  const float32 = Float32Array.from(values);
  const numbers = plan.half
    ? decodeFloats(DataType.FLOAT16, encodeFloats(DataType.FLOAT16, float32))
    : float32;
  return Float64Array.from(numbers);
}

export function numbersFor(plan: AttentionCase): CaseNumbers {
  const sizes = sizesOf(plan);
  const size = (labels: string) => [...labels].reduce((all, label) => all * (sizes[label] ?? 0), 1);
  const fill = randomFill(plan.seed);
  const draw = (name: string, count: number, spread = 1, middle = 0) =>
    rounded(
      plan,
      Array.from(fill(name, count), (value) => middle + spread * value),
    );
  const linear = (name: string, out: number, inner: number, bias: boolean): LinearNumbers => ({
    weight: draw(`${name}.weight`, out * inner, 0.8),
    bias: bias ? draw(`${name}.bias`, out, 0.5) : undefined,
  });
  const layers = Array.from({ length: plan.layers }, (_, layer): LayerNumbers => {
    const at = (name: string) => `${layer}.${name}`;
    const all = plan.norm === 'RMS of all';
    return {
      q: linear(at('q'), size('grd'), size('M'), plan.biases !== 'none'),
      k: linear(at('k'), size('gd'), size('M'), plan.biases === 'all'),
      v: linear(at('v'), size('ge'), size('M'), plan.biases !== 'none'),
      out: linear(at('o'), size('M'), size('gre'), plan.biases !== 'none'),
      queryNorm: draw(at('query norm'), all ? size('grd') : size('d'), 0.5, 1),
      keyNorm: draw(at('key norm'), all ? size('gd') : size('d'), 0.5, 1),
      headScales: draw(at('head scales'), size('gr'), 1, 2),
      sinks: draw(at('sinks'), size('gr')),
      slopes: draw(at('slopes'), size('gr'), 0.5),
      table: draw(at('table'), (2 * DISTANCES + 1) * size('gr')),
      pastKeys: draw(at('past keys'), size('BgPd')),
      pastValues: draw(at('past values'), size('BgPe')),
    };
  });
  return {
    layers,
    x: draw('x', size('BSM')),
    memory: draw('memory', plan.memory > 0 ? size('BTM') : 0),
    ...maskNumbers(plan, fill('mask', size('BST'))),
  };
}

function maskNumbers(
  plan: AttentionCase,
  random: Float32Array,
): { mask: Float64Array; padding: readonly number[] } {
  const { B = 0, S = 0, T = 0, P = 0 } = sizesOf(plan);
  const padding = Array.from({ length: B }, (_, b) =>
    plan.mask.includes('padding') && b === 0 && T > 1 ? 1 : 0,
  );
  const mask = new Float64Array(B * S * T);
  const sees = (b: number, i: number, j: number): boolean => {
    const last = P + i;
    switch (plan.mask) {
      case 'none':
        return true;
      case 'additive':
      case 'boolean':
        return j === last % T || (random[(b * S + i) * T + j] ?? 0) > -0.3;
      case 'padding':
        return j < T - (padding[b] ?? 0);
      case 'causal':
        return j <= last;
      case 'causal and padding':
        return j <= last && (j === 0 || j < T - (padding[b] ?? 0));
      case 'window':
        return j <= last && j > last - 2;
      case 'hidden rows':
        return (b + i) % 2 === 1 && j <= last;
      default:
        return plan.mask satisfies never;
    }
  };
  for (let b = 0; b < B; b++) {
    for (let i = 0; i < S; i++) {
      for (let j = 0; j < T; j++) mask[(b * S + i) * T + j] = sees(b, i, j) ? 0 : hiddenScore(plan);
    }
  }
  return { mask, padding };
}

/** Layers one behind the other. A layer without bias has zeros beside ones that have. */
export function stackedNumbers(parts: readonly LinearNumbers[], inner: number): LinearNumbers {
  const biased = parts.some(({ bias }) => bias);
  return {
    weight: Float64Array.from(parts.flatMap(({ weight }) => [...weight])),
    bias: biased
      ? Float64Array.from(
          parts.flatMap(({ weight, bias }) => [...(bias ?? new Float64Array(weight.length / inner))]),
        )
      : undefined,
  };
}
