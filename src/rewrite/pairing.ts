import type { Pairing } from '../attention/presets';

/**
 * Which heads make a pair in split mode, as lists of indices. H query heads make H/2 pairs; G stored key and value heads
 * serve them, each for a group of H/G query heads that follow one another.
 */

/** Indices of the positive heads, pair by pair: i, or 2i. */
export function positiveHeads(pairing: Pairing, heads: number): number[] {
  return range(heads / 2, (i) => (pairing === 'halves' ? i : 2 * i));
}

/** Indices of the negative heads, pair by pair: i + h/2, or 2i + 1. */
export function negativeHeads(pairing: Pairing, heads: number): number[] {
  return range(heads / 2, (i) => (pairing === 'halves' ? i + heads / 2 : 2 * i + 1));
}

/** The other head of the pair that a head belongs to. */
export function partnerOf(pairing: Pairing, heads: number, head: number): number {
  return pairing === 'halves' ? (head + heads / 2) % heads : head ^ 1;
}

/**
 * The stored value heads of each pair of H query heads. In halves, the heads are repeated to H and then paired; adjacent
 * ones are paired as they are stored, and the G/2 pairs repeated to H/2.
 */
export function valueHeads(
  pairing: Pairing,
  heads: number,
  stored: number,
): { readonly left: number[]; readonly right: number[] } {
  const group = heads / stored;
  const pair = (j: number) => Math.floor(j / group);
  const left = positiveHeads(pairing, stored);
  const right = negativeHeads(pairing, stored);
  return {
    left: range(heads / 2, (j) => left[pair(j)] ?? 0),
    right: range(heads / 2, (j) => right[pair(j)] ?? 0),
  };
}

function range<T>(count: number, item: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => item(index));
}
