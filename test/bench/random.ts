/** Pseudo-random weights that are computed while they are written. */
import { type ByteRange, computedBytes } from '../../src/onnx';

const CHUNK = 1 << 18;

/**
 * `count` float32 numbers, uniform in mean ± spread, the same for the same name. The pieces share one buffer of 1 MB.
 */
export function randomBytes(
  name: string,
  count: number,
  { mean, spread }: { readonly mean: number; readonly spread: number },
): ByteRange {
  return computedBytes(count * 4, function* () {
    const buffer = new Float32Array(Math.min(count, CHUNK));
    let state = hash(name);
    for (let done = 0; done < count; done += CHUNK) {
      const length = Math.min(CHUNK, count - done);
      for (let i = 0; i < length; i++) {
        // xorshift32
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        buffer[i] = mean + (state / 2 ** 31) * spread;
      }
      yield new Uint8Array(buffer.buffer, 0, length * 4);
    }
  });
}

/** FNV-1a; never 0, from which xorshift would not come away. */
function hash(text: string): number {
  let state = 0x811c9dc5;
  for (const letter of text) {
    state = Math.imul(state ^ (letter.codePointAt(0) ?? 0), 0x01000193);
  }
  return state === 0 ? 1 : state;
}
