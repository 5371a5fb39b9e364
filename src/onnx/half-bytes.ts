import { DataType } from './data-types';

/** Numbers of 4 bits: two in a byte, the first in its low half, as ONNX packs INT4 and UINT4. */

/** True for an element type of 4 bits. */
export function isHalfByte(type: number | undefined): boolean {
  return type === DataType.INT4 || type === DataType.UINT4;
}

/**
 * One number a byte, from 0 to 15.
 * @param count of the numbers: the last half of the last byte may be none
 */
export function unpackHalves(bytes: Uint8Array, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, at) => ((bytes[at >> 1] ?? 0) >> (4 * (at & 1))) & 15);
}

/** Two numbers a byte; of each, the low half counts. */
export function packHalves(numbers: Uint8Array): Uint8Array {
  const half = (at: number) => (numbers[at] ?? 0) & 15;
  return Uint8Array.from(
    { length: Math.ceil(numbers.length / 2) },
    (_, at) => half(2 * at) | (half(2 * at + 1) << 4),
  );
}
