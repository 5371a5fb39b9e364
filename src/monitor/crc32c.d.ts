/** The package has types for its other polynomial alone. */
declare module 'crc-32/crc32c' {
  /** CRC-32C (Castagnoli) of bytes, as a signed 32-bit integer. */
  export function buf(data: Uint8Array, seed?: number): number;
}
