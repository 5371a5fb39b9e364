import type { Pairing } from '../attention/presets';
import { type ByteRange, computedBytes } from '../onnx';

/**
 * Rows of both components in a checkpoint, 2 * h * d of them: with `halves` all positive heads before all negative ones,
 * with `adjacent` heads 2i and 2i + 1 are the components of head i. Here they are kept in halves.
 */

/** Rows as a checkpoint has them, in halves. */
export function inHalves(data: ByteRange, heads: number, pairing: Pairing): ByteRange {
  const order = (head: number) => (head % heads) * 2 + Math.floor(head / heads);
  return pairing === 'halves' ? data : reordered(data, heads * 2, order);
}

/** Rows in halves, as a checkpoint has them. */
export function asPaired(data: ByteRange, heads: number, pairing: Pairing): ByteRange {
  const order = (head: number) => Math.floor(head / 2) + (head % 2) * heads;
  return pairing === 'halves' ? data : reordered(data, heads * 2, order);
}

/** Equal parts in another order. */
function reordered(data: ByteRange, count: number, source: (index: number) => number): ByteRange {
  const size = data.length / count;
  return computedBytes(data.length, function* () {
    const bytes = data.read();
    for (let index = 0; index < count; index++) {
      const from = source(index) * size;
      yield bytes.subarray(from, from + size);
    }
  });
}
