/**
 * Floating-point tensors between their bytes and numbers that JavaScript can compute with.
 *
 * Conversions are exact where the target is wider and round to nearest, ties to even, where it is narrower (IEEE 754
 * section 4.3.1; bfloat16 is the upper half of a binary32). Subnormals, infinities, signed zeros and NaN payloads
 * survive. They work on bit patterns, since reading a NaN as a number may lose its payload.
 *
 * Tensor bytes are little-endian, and so is every machine that onnxruntime-node runs on: typed arrays are used as is.
 */
import { DataType, dataTypeName } from './data-types';

/** The element types that this file converts. */
export type FloatType =
  | typeof DataType.FLOAT
  | typeof DataType.FLOAT16
  | typeof DataType.BFLOAT16
  | typeof DataType.DOUBLE;

/** Whether numbers of an element type can be read and written here. float8 and narrower ones cannot. */
export function isFloatType(type: number | undefined): type is FloatType {
  return (
    type === DataType.FLOAT ||
    type === DataType.FLOAT16 ||
    type === DataType.BFLOAT16 ||
    type === DataType.DOUBLE
  );
}

/**
 * The numbers in a float tensor's bytes, in a new array: Float64Array for double, Float32Array for the rest (exact).
 * @throws Error where `type` is no float type: ask `isFloatType` first
 */
export function decodeFloats(type: DataType, bytes: Uint8Array): Float32Array | Float64Array {
  switch (type) {
    case DataType.FLOAT:
      return new Float32Array(copyOf(bytes));
    case DataType.DOUBLE:
      return new Float64Array(copyOf(bytes));
    case DataType.FLOAT16:
      return decodeHalfs(new Uint16Array(copyOf(bytes)));
    case DataType.BFLOAT16:
      return decodeBfloats(new Uint16Array(copyOf(bytes)));
    default:
      throw new Error(`not a float type: ${dataTypeName(type)}`);
  }
}

/**
 * The bytes of a float tensor, in a new array. Each number is rounded once, also from float64 to the 16-bit types.
 * @throws Error where `type` is no float type: ask `isFloatType` first
 */
export function encodeFloats(type: DataType, values: Float32Array | Float64Array): Uint8Array {
  switch (type) {
    case DataType.FLOAT:
      return values instanceof Float32Array ? bytesOf(values.slice()) : bytesOf(new Float32Array(values));
    case DataType.DOUBLE:
      return bytesOf(new Float64Array(values));
    case DataType.FLOAT16:
      return bytesOf(encodeBits(values, halfBits));
    case DataType.BFLOAT16:
      return bytesOf(encodeBits(values, bfloatBits));
    default:
      throw new Error(`not a float type: ${dataTypeName(type)}`);
  }
}

/** The values of float16 bit patterns. */
export function decodeHalfs(bits: Uint16Array): Float32Array {
  halfTable ??= Uint32Array.from({ length: 0x10000 }, (_, half) => binary32OfHalf(half));
  const out = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = halfTable[bits[i] as number] as number;
  return new Float32Array(out.buffer);
}

/** The values of bfloat16 bit patterns. */
export function decodeBfloats(bits: Uint16Array): Float32Array {
  const out = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = (bits[i] as number) << 16;
  return new Float32Array(out.buffer);
}

/** binary32 bits of every float16 bit pattern; 256 KB, made when first needed. */
let halfTable: Uint32Array | undefined;

function binary32OfHalf(half: number): number {
  const sign = (half & 0x8000) << 16;
  const magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00) return (sign | 0x7f800000 | ((magnitude & 0x3ff) << 13)) >>> 0;
  if (magnitude >= 0x0400) return (sign | ((magnitude << 13) + 0x38000000)) >>> 0;
  // Subnormal: magnitude * 2^-24, which a binary32 holds as a normal number.
  scratchFloat[0] = magnitude / 0x1000000;
  return (sign | (scratchBits[0] as number)) >>> 0;
}

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);

/** float16 bits of a binary32 given as bits. */
function halfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | nanBits(0x7c00, (magnitude & 0x7fffff) >>> 13);
  // 65520 is the tie between the largest half and the next that there would be: it rounds to infinity.
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    // Normal: a carry out of the fraction rightly moves the exponent up.
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  }
  // Subnormal in half, of which 2^-24 is the unit; below half of that everything is zero.
  const exponent = magnitude >>> 23;
  if (exponent < 102) return sign;
  const fraction = (magnitude & 0x7fffff) | 0x800000;
  const shift = 126 - exponent;
  const kept = fraction >>> shift;
  const rest = fraction & ((1 << shift) - 1);
  const tie = 1 << (shift - 1);
  return sign | (rest > tie || (rest === tie && (kept & 1) === 1) ? kept + 1 : kept);
}

/** bfloat16 bits of a binary32 given as bits. */
function bfloatBits(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) {
    return ((bits >>> 16) & 0x8000) | nanBits(0x7f80, (bits >>> 16) & 0x7f);
  }
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** A NaN keeps what fits of its payload; a payload of 0 would make it an infinity. */
function nanBits(infinity: number, payload: number): number {
  return infinity | (payload === 0 ? (infinity === 0x7c00 ? 0x200 : 0x40) : payload);
}

function encodeBits(values: Float32Array | Float64Array, bitsOf: (bits: number) => number): Uint16Array {
  const binary32 =
    values instanceof Float32Array
      ? new Uint32Array(values.buffer, values.byteOffset, values.length)
      : roundToOdd(values);
  const out = new Uint16Array(binary32.length);
  for (let i = 0; i < out.length; i++) out[i] = bitsOf(binary32[i] as number);
  return out;
}

/**
 * binary32 bits of doubles, rounded to odd: what does not fit sets the last bit. Rounding that to nearest in a type
 * with at least two bits less gives what rounding the double itself gives (Boldo and Melquiond, "Emulation of FMA and
 * correctly rounded sums", IEEE ToC 2008), whereas rounding to nearest twice does not.
 */
function roundToOdd(values: Float64Array): Uint32Array {
  const floats = new Float32Array(values);
  const bits = new Uint32Array(floats.buffer);
  for (let i = 0; i < bits.length; i++) {
    const exact = values[i] as number;
    const rounded = floats[i] as number;
    if (rounded === exact || Number.isNaN(exact)) continue;
    const towardsZero = (bits[i] as number) - (Math.abs(rounded) > Math.abs(exact) ? 1 : 0);
    bits[i] = towardsZero | 1;
  }
  return bits;
}

/** A copy of bytes, at the start of a buffer of their own and so aligned for every type. */
function copyOf(bytes: Uint8Array): ArrayBuffer {
  const copy = new ArrayBuffer(bytes.length);
  new Uint8Array(copy).set(bytes);
  return copy;
}

function bytesOf(array: Float32Array | Float64Array | Uint16Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
