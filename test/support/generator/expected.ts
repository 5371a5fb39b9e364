/**
 * Differential attention in float64, from the numbers that a random graph was written from, in plain loops. Nothing here
 * is shared with the product.
 */
import { type CaseNumbers, DISTANCES, type LayerNumbers, type LinearNumbers } from './numbers';
import { type AttentionCase, CAP, isInterleaved, NORM_EPSILON, rotaryWidth, scaleOf, sizesOf } from './plan';

/** What a rewrite adds to a layer. */
export interface AddedNumbers {
  /** Second projections. Without those of queries, heads of the model itself are the negative component. */
  readonly q2: LinearNumbers | undefined;
  readonly k2: LinearNumbers | undefined;
  readonly pastKeys2: Float64Array;
  /** Factor of the negative component: a number, or a projection [heads, M] of what the layer reads. */
  readonly lambda: number | Float64Array;
  readonly mix: number;
  /** Which heads of the model form a pair, where they do, and whether values are paired as they are stored. */
  readonly pairs: 'halves' | 'adjacent';
  /** The norm behind the attention. */
  readonly norm: { readonly weight: Float64Array | undefined; readonly epsilon: number } | undefined;
  /** Factor on the result. */
  readonly factor: number;
}

export interface ExpectedLayer {
  /** [B, g, T, d] and [B, g, T, e]. */
  readonly keys: Float64Array;
  readonly keys2: Float64Array | undefined;
  readonly values: Float64Array;
  /** [B, heads, S, T] */
  readonly map: Float64Array;
}

export interface Expected {
  /** [B, S, M] */
  readonly y: Float64Array;
  readonly layers: readonly ExpectedLayer[];
}

interface Sizes {
  readonly B: number;
  readonly S: number;
  readonly T: number;
  readonly P: number;
  readonly H: number;
  readonly G: number;
  readonly D: number;
  readonly E: number;
  readonly M: number;
  /** Rows that keys and values are projected from. */
  readonly N: number;
}

function sizes(plan: AttentionCase): Sizes {
  const { B = 0, S = 0, T = 0, P = 0, g = 0, r = 0, d = 0, e = 0, M = 0 } = sizesOf(plan);
  return { B, S, T, P, H: g * r, G: g, D: d, E: e, M, N: plan.memory > 0 ? T : S };
}

/** @param added one for each layer; none for the original model */
export function expectedResults(
  plan: AttentionCase,
  numbers: CaseNumbers,
  added?: readonly AddedNumbers[],
): Expected {
  const { B, S, M } = sizes(plan);
  let x = numbers.x;
  const layers = numbers.layers.map((layer, index) => {
    const memory = plan.memory > 0 ? numbers.memory : x;
    const result = attention(plan, numbers, layer, x, memory, added?.[index]);
    x = Float64Array.from({ length: B * S * M }, (_, i) => (x[i] ?? 0) + (result.y[i] ?? 0));
    return result;
  });
  return { y: x, layers };
}

function attention(
  plan: AttentionCase,
  numbers: CaseNumbers,
  layer: LayerNumbers,
  x: Float64Array,
  memory: Float64Array,
  added: AddedNumbers | undefined,
): ExpectedLayer & { y: Float64Array } {
  const s = sizes(plan);
  const queries = (linear: LinearNumbers) => heads(plan, layer.queryNorm, linear, x, s.S, s.H, s.P);
  const keys = (linear: LinearNumbers, past: Float64Array) =>
    joined(s, past, heads(plan, layer.keyNorm, linear, memory, s.N, s.G, s.P), s.D);
  const K = keys(layer.k, layer.pastKeys);
  const A = probabilities(plan, numbers, layer, queries(layer.q), K);
  const V = joined(s, layer.pastValues, project(layer.v, memory, s.B, s.N, s.M, s.G, s.E), s.E);
  const K2 = added?.k2 ? keys(added.k2, added.pastKeys2) : undefined;
  const A2 = added?.q2 ? probabilities(plan, numbers, layer, queries(added.q2), K2 ?? K) : undefined;
  const { C, map, width } = combined(plan, A, A2, V, x, added);
  return { y: output(layer.out, C, width, s), keys: K, keys2: K2, values: V, map };
}

/** x W + b as [B, heads, N, width]. */
function project(
  { weight, bias }: LinearNumbers,
  x: Float64Array,
  B: number,
  N: number,
  M: number,
  count: number,
  width: number,
): Float64Array {
  const result = new Float64Array(B * count * N * width);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < count; h++) {
      for (let n = 0; n < N; n++) {
        for (let w = 0; w < width; w++) {
          const row = h * width + w;
          let sum = bias?.[row] ?? 0;
          for (let m = 0; m < M; m++) sum += (x[(b * N + n) * M + m] ?? 0) * (weight[row * M + m] ?? 0);
          result[((b * count + h) * N + n) * width + w] = sum;
        }
      }
    }
  }
  return result;
}

/** Queries or keys [B, heads, N, D] with norms and positions. */
function heads(
  plan: AttentionCase,
  weight: Float64Array,
  linear: LinearNumbers,
  x: Float64Array,
  N: number,
  count: number,
  past: number,
): Float64Array {
  const { B, D, M } = sizes(plan);
  const result = project(linear, x, B, N, M, count, D);
  for (let b = 0; b < B; b++) {
    for (let n = 0; n < N; n++) {
      const rows = Array.from({ length: count }, (_, h) => {
        const from = ((b * count + h) * N + n) * D;
        return result.subarray(from, from + D);
      });
      normalise(plan, rows, weight);
      for (const row of rows) turn(plan, row, past + n);
    }
  }
  return result;
}

/** Norms of the heads of one row, in place. */
function normalise({ norm }: AttentionCase, rows: readonly Float64Array[], weight: Float64Array): void {
  if (norm === 'none') return;
  const together = norm === 'RMS of all' ? [rows] : rows.map((row) => [row]);
  for (const part of together) {
    const count = part.reduce((all, row) => all + row.length, 0);
    const sum = (f: (value: number) => number) =>
      part.reduce((all, row) => row.reduce((total, value) => total + f(value), all), 0);
    const mean = norm === 'LayerNorm of heads' ? sum((value) => value) / count : 0;
    const squares = sum((value) => (value - mean) ** 2);
    const divisor = norm === 'length 1' ? Math.sqrt(squares) : Math.sqrt(squares / count + NORM_EPSILON);
    let at = 0;
    for (const row of part) {
      for (let i = 0; i < row.length; i++, at++) {
        row[i] = (((row[i] ?? 0) - mean) / divisor) * (norm === 'length 1' ? 1 : (weight[at] ?? 0));
      }
    }
  }
}

/** Angle of the i-th pair of columns. */
export function angle(position: number, i: number, width: number): number {
  return position * 10 ** (-(2 * i) / width);
}

/** Rotary embedding of one head of one row, in place. */
function turn(plan: AttentionCase, row: Float64Array, position: number): void {
  const width = rotaryWidth(plan);
  for (let i = 0; i < width / 2; i++) {
    const [a, b] = isInterleaved(plan) ? [2 * i, 2 * i + 1] : [i, i + width / 2];
    const [x, y] = [row[a] ?? 0, row[b] ?? 0];
    const [cos, sin] = [Math.cos(angle(position, i, width)), Math.sin(angle(position, i, width))];
    row[a] = x * cos - y * sin;
    row[b] = y * cos + x * sin;
  }
}

/** [B, G, P, width] and [B, G, N, width] behind it. */
function joined({ B, G, P }: Sizes, past: Float64Array, now: Float64Array, width: number): Float64Array {
  const result: number[] = [];
  const N = now.length / (B * G * width);
  for (let i = 0; i < B * G; i++) {
    result.push(...past.subarray(i * P * width, (i + 1) * P * width));
    result.push(...now.subarray(i * N * width, (i + 1) * N * width));
  }
  return Float64Array.from(result);
}

/** The key head that a query head reads. */
function keyHead({ order, kvHeads, group }: AttentionCase, head: number): number {
  return order === 'tiled' ? head % kvHeads : Math.floor(head / group);
}

function probabilities(
  plan: AttentionCase,
  { mask }: CaseNumbers,
  layer: LayerNumbers,
  Q: Float64Array,
  K: Float64Array,
): Float64Array {
  const { B, S, T, P, H, G, D } = sizes(plan);
  const result = new Float64Array(B * H * S * T);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      for (let i = 0; i < S; i++) {
        const scores = Array.from({ length: T }, (_, j) => {
          const k = (b * G + keyHead(plan, h)) * T + j;
          let score = 0;
          for (let d = 0; d < D; d++) {
            score += (Q[((b * H + h) * S + i) * D + d] ?? 0) * (K[k * D + d] ?? 0);
          }
          score *= scaleOf(plan) * (plan.norm === 'length 1' ? (layer.headScales[h] ?? 0) : 1);
          if (plan.cap) score = CAP * Math.tanh(score / CAP);
          if (plan.bias === 'slopes') score += (layer.slopes[h] ?? 0) * j;
          if (plan.bias === 'table') {
            const distance = Math.max(-DISTANCES, Math.min(DISTANCES, j - (P + i)));
            score += layer.table[(distance + DISTANCES) * H + h] ?? 0;
          }
          const hidden = mask[(b * S + i) * T + j] ?? 0;
          return hidden === 0 ? score : Number.NEGATIVE_INFINITY;
        });
        const sink = plan.sinks ? (layer.sinks[h] ?? 0) : Number.NEGATIVE_INFINITY;
        const largest = Math.max(...scores, sink);
        // a row that sees nothing gives nothing
        const weights = scores.map((score) =>
          largest === Number.NEGATIVE_INFINITY ? 0 : Math.exp(score - largest),
        );
        const total = weights.reduce((sum, weight) => sum + weight, 0) + Math.exp(sink - largest);
        weights.forEach((weight, j) => {
          result[((b * H + h) * S + i) * T + j] = weight === 0 ? 0 : weight / total;
        });
      }
    }
  }
  return result;
}

/** The attended values as [B, heads, S, width], and the differential map. */
function combined(
  plan: AttentionCase,
  A: Float64Array,
  A2: Float64Array | undefined,
  V: Float64Array,
  x: Float64Array,
  added: AddedNumbers | undefined,
): { C: Float64Array; map: Float64Array; width: number } {
  const { B, S, T, H, G, E, M } = sizes(plan);
  const split = added !== undefined && A2 === undefined;
  const heads = split ? H / 2 : H;
  const width = split ? 2 * E : E;
  const map = new Float64Array(B * heads * S * T);
  const C = new Float64Array(B * heads * S * width);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < heads; h++) {
      const [first, second] = pairOf(h, heads, split, added);
      const sources = valueHeads(plan, h, [first, second], added);
      for (let i = 0; i < S; i++) {
        const lambda = lambdaAt(added, x.subarray((b * S + i) * M, (b * S + i + 1) * M), h);
        const at = ((b * heads + h) * S + i) * T;
        for (let j = 0; j < T; j++) {
          const positive = A[((b * H + first) * S + i) * T + j] ?? 0;
          const negative = split ? (A[((b * H + second) * S + i) * T + j] ?? 0) : (A2?.[at + j] ?? 0);
          map[at + j] = positive - lambda * negative;
        }
        const row = C.subarray(((b * heads + h) * S + i) * width, ((b * heads + h) * S + i + 1) * width);
        for (let w = 0; w < width; w++) {
          // with split heads the values of a head and of its partner stand side by side
          const source = sources[w < E ? 0 : 1];
          for (let j = 0; j < T; j++) {
            row[w] = (row[w] ?? 0) + (map[at + j] ?? 0) * (V[((b * G + source) * T + j) * E + (w % E)] ?? 0);
          }
        }
        if (added?.norm) rmsNorm(row, added.norm.weight, added.norm.epsilon);
        row.forEach((value, w) => {
          row[w] = value * (added?.factor ?? 1);
        });
      }
    }
  }
  return { C, map, width };
}

/** The heads of the model that a head of the result is made of. */
function pairOf(
  head: number,
  heads: number,
  split: boolean,
  added: AddedNumbers | undefined,
): readonly [number, number] {
  if (!split) return [head, head];
  return added?.pairs === 'adjacent' ? [2 * head, 2 * head + 1] : [head, head + heads];
}

/** The value heads of a pair: those of its two heads, or two that are stored side by side. */
function valueHeads(
  plan: AttentionCase,
  head: number,
  [first, second]: readonly [number, number],
  added: AddedNumbers | undefined,
): readonly [number, number] {
  if (added?.pairs !== 'adjacent' || first === second) return [keyHead(plan, first), keyHead(plan, second)];
  const pair = Math.floor(head / plan.group);
  return [2 * pair, 2 * pair + 1];
}

/** The factor of the negative component in one row of what the layer reads. */
function lambdaAt(added: AddedNumbers | undefined, x: Float64Array, head: number): number {
  if (!added) return 0;
  const { lambda, mix } = added;
  if (typeof lambda === 'number') return mix * lambda;
  const score = x.reduce((sum, value, m) => sum + value * (lambda[head * x.length + m] ?? 0), 0);
  return mix / (1 + Math.exp(-score));
}

function rmsNorm(row: Float64Array, weight: Float64Array | undefined, epsilon: number): void {
  const root = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / row.length + epsilon);
  row.forEach((value, i) => {
    row[i] = (value / root) * (weight ? (weight[i] ?? 0) : 1);
  });
}

/** Heads of this width side by side, then the output projection: [B, S, M]. */
function output(
  { weight, bias }: LinearNumbers,
  C: Float64Array,
  width: number,
  { B, S, H, E, M }: Sizes,
): Float64Array {
  const inner = H * E;
  const heads = inner / width;
  const result = new Float64Array(B * S * M);
  for (let b = 0; b < B; b++) {
    for (let i = 0; i < S; i++) {
      for (let m = 0; m < M; m++) {
        let sum = bias?.[m] ?? 0;
        for (let c = 0; c < inner; c++) {
          const at = ((b * heads + Math.floor(c / width)) * S + i) * width + (c % width);
          sum += (C[at] ?? 0) * (weight[m * inner + c] ?? 0);
        }
        result[(b * S + i) * M + m] = sum;
      }
    }
  }
  return result;
}
