/** Mutations of a file as bytes. */
import type { Random } from './random';

export type ByteMutation = (bytes: Uint8Array, random: Random, other: Uint8Array) => Uint8Array;

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Places are drawn near the beginning as often as anywhere: weights fill most of a file, structure is what is wanted. */
function place(length: number, random: Random): number {
  return random.int(random.chance(0.5) ? Math.min(length, 4096) : length);
}

function noise(count: number, random: Random): Uint8Array {
  return Uint8Array.from({ length: count }, () => random.int(256));
}

export const BYTE_MUTATIONS: Readonly<Record<string, ByteMutation>> = {
  flip: (bytes, random) => {
    const result = bytes.slice();
    for (let n = 1 + random.int(8); n > 0; n--) {
      const at = place(result.length, random);
      result[at] = (result[at] ?? 0) ^ (1 << random.int(8));
    }
    return result;
  },
  overwrite: (bytes, random) => {
    const result = bytes.slice();
    const at = place(result.length, random);
    const value = random.pick([
      noise(1 + random.int(16), random),
      new Uint8Array(8).fill(255),
      new Uint8Array(8),
    ]);
    result.set(value.subarray(0, result.length - at), at);
    return result;
  },
  truncate: (bytes, random) => bytes.slice(0, place(bytes.length, random)),
  insert: (bytes, random) => {
    const at = place(bytes.length, random);
    return joined(bytes.subarray(0, at), noise(1 + random.int(32), random), bytes.subarray(at));
  },
  remove: (bytes, random) => {
    const at = place(bytes.length, random);
    return joined(bytes.subarray(0, at), bytes.subarray(at + 1 + random.int(64)));
  },
  repeat: (bytes, random) => {
    const at = place(bytes.length, random);
    const part = bytes.subarray(at, at + 1 + random.int(512));
    return joined(bytes.subarray(0, at), ...Array(2 + random.int(30)).fill(part), bytes.subarray(at));
  },
  splice: (bytes, random, other) =>
    joined(bytes.subarray(0, place(bytes.length, random)), other.subarray(place(other.length, random))),
};
