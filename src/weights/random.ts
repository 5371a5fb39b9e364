/**
 * The numbers behind `--init random`: the same bytes on every machine, whatever is drawn before or after.
 *
 * Each parameter has a stream of its own: xoshiro128** 1.1 (Blackman and Vigna, "Scrambled linear pseudorandom number
 * generators", ACM TOMS 2021; https://prng.di.unimi.it/xoshiro128starstar.c), whose state is the first 16 bytes of
 * SHA-256 of `<seed>\0<parameter name>`, read as four little-endian words.
 *
 * Only integer arithmetic and `+ - * / sqrt` on doubles are used: IEEE 754 and ECMAScript define their results to the
 * last bit, which they do not for Math.log, Math.cos and their like.
 */
import { createHash } from 'node:crypto';
import { standardNormalQuantile } from './normal-quantile';

/** Held here because a lookup of the global `Math` per number is slow in some hosts (node:vm contexts, so Jest). */
const { imul } = Math;

/** Numbers per chunk where the caller does not say. */
const CHUNK = 1 << 18;

/**
 * `count` numbers of U(-bound, bound): (2k + 1 - 2^24) / 2^24 * bound with k of 24 random bits, rounded to float32.
 * @returns chunks in order, which can be iterated over again; a chunk is valid until the next one is asked for
 */
export function uniform(
  seed: number | bigint,
  name: string,
  count: number,
  bound: number,
  chunk = CHUNK,
): Iterable<Float32Array> {
  return chunked(count, chunk, () => {
    const state = initialState(seed, name);
    return (out) => fillUniform(state, out, bound);
  });
}

/**
 * `count` numbers of N(0, std): the quantile function of the normal distribution (see `standardNormalQuantile`) at
 * (k + 1/2) / 2^52 with k of 52 random bits, times std, rounded to float32. No number is farther than 8.21 std from 0.
 * @returns as `uniform`
 */
export function normal(
  seed: number | bigint,
  name: string,
  count: number,
  std: number,
  chunk = CHUNK,
): Iterable<Float32Array> {
  return chunked(count, chunk, () => {
    const state = initialState(seed, name);
    return (out) => fillNormal(state, out, std);
  });
}

function initialState(seed: number | bigint, name: string): Int32Array {
  const digest = createHash('sha256').update(`${seed}\0${name}`, 'utf8').digest();
  return Int32Array.from({ length: 4 }, (_, i) => digest.readInt32LE(4 * i));
}

/** Calls a fill function until `count` numbers are out; every iteration starts from the beginning. */
function chunked(
  count: number,
  chunk: number,
  start: () => (out: Float32Array) => void,
): Iterable<Float32Array> {
  return {
    *[Symbol.iterator]() {
      const fill = start();
      const buffer = new Float32Array(Math.min(chunk, count));
      for (let done = 0; done < count; done += buffer.length) {
        const out = buffer.subarray(0, Math.min(buffer.length, count - done));
        fill(out);
        yield out;
      }
    },
  };
}

/** The generator is written out in both loops, on local variables: that is five times as fast as a call per number. */
function fillUniform(state: Int32Array, out: Float32Array, bound: number): void {
  let [s0, s1, s2, s3] = words(state);
  for (let i = 0; i < out.length; i++) {
    const product = imul(s1, 5);
    const result = imul((product << 7) | (product >>> 25), 9);
    const t = s1 << 9;
    s2 ^= s0;
    s3 ^= s1;
    s1 ^= s2;
    s0 ^= s3;
    s2 ^= t;
    s3 = (s3 << 11) | (s3 >>> 21);
    out[i] = (((result >>> 8) * 2 + 1 - 0x1000000) / 0x1000000) * bound;
  }
  state.set([s0, s1, s2, s3]);
}

function fillNormal(state: Int32Array, out: Float32Array, std: number): void {
  for (let i = 0; i < out.length; i++) {
    const high = next(state) >>> 6;
    const low = next(state) >>> 6;
    out[i] = standardNormalQuantile((high * 0x4000000 + low + 0.5) / 0x10000000000000) * std;
  }
}

/** One step of xoshiro128**: 32 bits. */
function next(state: Int32Array): number {
  let [s0, s1, s2, s3] = words(state);
  const product = imul(s1, 5);
  const result = imul((product << 7) | (product >>> 25), 9);
  const t = s1 << 9;
  s2 ^= s0;
  s3 ^= s1;
  s1 ^= s2;
  s0 ^= s3;
  s2 ^= t;
  s3 = (s3 << 11) | (s3 >>> 21);
  state[0] = s0;
  state[1] = s1;
  state[2] = s2;
  state[3] = s3;
  return result;
}

function words(state: Int32Array): [number, number, number, number] {
  return [state[0] as number, state[1] as number, state[2] as number, state[3] as number];
}
