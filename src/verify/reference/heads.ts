/** Which heads belong together in `split` mode (SPEC section 1, head modes and presets). The axis of heads is -3. */
import { type Array64, at, moving, size } from './array';

/** Held here because a lookup of a global per number is slow in some hosts (node:vm contexts, so Jest). */
const { floor } = Math;

/**
 * How heads pair: `halves` i with i + h/2 (axolotl, DiffLlama), `adjacent` 2i with 2i + 1 (paper).
 */
export type Pairing = 'halves' | 'adjacent';

/** Repeats each head for the query heads that share it, one after the other: [..., G, X, Y] to [..., H, X, Y]. */
export function repeatHeads(array: Array64, H: number): Array64 {
  const G = headCount(array);
  if (H % G !== 0) throw new Error(`${G} heads do not divide ${H}`);
  return pickHeads(array, H, (head) => floor(head / (H / G)));
}

/** Heads that stand repeated for their groups, each once: [..., H, X, Y] to [..., G, X, Y]; others as they are. */
export function storedHeads(array: Array64, G: number): Array64 {
  const H = headCount(array);
  if (H <= G || H % G !== 0) return array;
  const stored = pickHeads(array, G, (head) => head * (H / G));
  const { data } = repeatHeads(stored, H);
  return data.every((value, i) => Object.is(value, array.data[i])) ? stored : array;
}

/**
 * Copies of G heads, a group of them for each, as heads 2j and 2j + 1 of pair j: the pairs of the G heads are repeated, and
 * each repetition takes other copies. Copies that a cache was fed need not be equal.
 */
export function copiesInPairs(array: Array64, G: number): Array64 {
  const H = headCount(array);
  const group = H / G;
  return pickHeads(array, H, (head) => {
    const pair = floor(head / 2);
    return (2 * floor(pair / group) + (head % 2)) * group + (pair % group);
  });
}

/** The positive and the negative maps, [..., H/2, S, T] each. */
export function pairMaps(A_BHST: Array64, pairing: Pairing): [positive: Array64, negative: Array64] {
  const half = halfOf(headCount(A_BHST));
  return pairing === 'halves'
    ? [pickHeads(A_BHST, half, (i) => i), pickHeads(A_BHST, half, (i) => i + half)]
    : [pickHeads(A_BHST, half, (i) => 2 * i), pickHeads(A_BHST, half, (i) => 2 * i + 1)];
}

/**
 * Values of H/2 heads of width 2D from the G stored ones: `halves` repeats them to H and puts head i beside i + H/2;
 * `adjacent` puts stored head 2j beside 2j + 1 and repeats the G/2 results.
 */
export function pairValues(V_BGTD: Array64, H: number, pairing: Pairing): Array64 {
  const V = pairing === 'halves' ? repeatHeads(V_BGTD, H) : V_BGTD;
  const [left, right] = pairMaps(V, pairing);
  return repeatHeads(beside(left, right), halfOf(H));
}

/**
 * A1 V and A2 V of each pair, [..., H/2, S, 2D], from what each head gives with its own values and with those of its
 * partner among the G stored heads: `halves` exchange j and j + G/2, `adjacent` ones 2j and 2j + 1.
 */
export function crossProducts(
  own_BHSD: Array64,
  exchanged_BHSD: Array64,
  G: number,
  pairing: Pairing,
): { Y1_BHSD: Array64; Y2_BHSD: Array64 } {
  const H = headCount(own_BHSD);
  const both = concatenateHeads(own_BHSD, exchanged_BHSD);
  /** Of each query head, whether its own values are those on the right of the pair. */
  const isRight = (head: number) => {
    const stored = floor(head / (H / G));
    return pairing === 'halves' ? stored >= G / 2 : stored % 2 === 1;
  };
  const withValues = (right: boolean) =>
    pickHeads(both, H, (head) => (isRight(head) === right ? head : head + H));
  const [left1, left2] = pairMaps(withValues(false), pairing);
  const [right1, right2] = pairMaps(withValues(true), pairing);
  return { Y1_BHSD: beside(left1, right1), Y2_BHSD: beside(left2, right2) };
}

/** The heads of one array, then those of another of the same shape. */
function concatenateHeads(first: Array64, second: Array64): Array64 {
  const [H, X, Y] = first.shape.slice(-3) as [number, number, number];
  const leading = first.shape.slice(0, -3);
  const data = new Float64Array(first.data.length * 2);
  const run = H * X * Y;
  for (let outer = 0; outer < size(leading); outer++) {
    data.set(first.data.subarray(outer * run, (outer + 1) * run), outer * 2 * run);
    data.set(second.data.subarray(outer * run, (outer + 1) * run), (outer * 2 + 1) * run);
  }
  return { shape: [...leading, 2 * H, X, Y], data };
}

/**
 * [..., H/2, S, 2D] to [..., H, S, D]: columns of pair i are those of heads 2i and 2i + 1, so that merging the heads of
 * the result gives the same rows as merging the pairs.
 */
export function unpair(C: Array64): Array64 {
  return moving(C, unpaired);
}

function unpaired(C: Array64): Array64 {
  const [pairs, S, width] = C.shape.slice(-3) as [number, number, number];
  const D = halfOf(width);
  const shape = [...C.shape.slice(0, -3), pairs * 2, S, D];
  const data = new Float64Array(size(shape));
  for (let i = 0; i < data.length; i++) {
    const d = i % D;
    const s = floor(i / D) % S;
    const head = floor(i / (D * S));
    data[i] = at(C, (floor(head / 2) * S + s) * width + (head % 2) * D + d);
  }
  return { shape, data };
}

/** Two arrays side by side on the last axis. */
export function beside(left: Array64, right: Array64): Array64 {
  const D = left.shape.at(-1) as number;
  const shape = [...left.shape.slice(0, -1), 2 * D];
  const data = new Float64Array(size(shape));
  for (let i = 0; i < data.length; i++) {
    const row = floor(i / (2 * D));
    const column = i % (2 * D);
    data[i] = column < D ? at(left, row * D + column) : at(right, row * D + column - D);
  }
  return { shape, data };
}

/** New heads, each a copy of an old one: [..., H, X, Y] to [..., count, X, Y]. */
function pickHeads(array: Array64, count: number, source: (head: number) => number): Array64 {
  return moving(array, (plain) => picked(plain, count, source));
}

function picked(array: Array64, count: number, source: (head: number) => number): Array64 {
  const [H, X, Y] = array.shape.slice(-3) as [number, number, number];
  const leading = array.shape.slice(0, -3);
  const shape = [...leading, count, X, Y];
  const data = new Float64Array(size(shape));
  for (let outer = 0; outer < size(leading); outer++) {
    for (let head = 0; head < count; head++) {
      const from = (outer * H + source(head)) * X * Y;
      data.set(array.data.subarray(from, from + X * Y), (outer * count + head) * X * Y);
    }
  }
  return { shape, data };
}

function headCount(array: Array64): number {
  const H = array.shape.at(-3);
  if (H === undefined) throw new Error(`[${array.shape}] has no axis of heads`);
  return H;
}

function halfOf(count: number): number {
  if (count % 2 !== 0) throw new Error(`${count} is odd`);
  return count / 2;
}
