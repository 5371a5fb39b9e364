import type { ByteRange } from '../../onnx';

/** Streams two byte ranges against each other. */
export function sameBytes(a: ByteRange, b: ByteRange): boolean {
  if (a.length !== b.length) return false;
  const left = a.chunks()[Symbol.iterator]();
  const right = b.chunks()[Symbol.iterator]();
  let x: Uint8Array = new Uint8Array(0);
  let y: Uint8Array = new Uint8Array(0);
  for (let at = 0; at < a.length; ) {
    if (x.length === 0) x = left.next().value ?? x;
    if (y.length === 0) y = right.next().value ?? y;
    const size = Math.min(x.length, y.length);
    if (size === 0 || Buffer.compare(x.subarray(0, size), y.subarray(0, size)) !== 0) return false;
    x = x.subarray(size);
    y = y.subarray(size);
    at += size;
  }
  return true;
}
