import { DataType } from '../../src/onnx/data-types';
import { decodeFloats, encodeFloats, isFloatType } from '../../src/onnx/floats';
import fc from '../support/properties';

const every16Bits = () => Uint16Array.from({ length: 0x10000 }, (_, i) => i);
const bytes = (array: Uint16Array) => new Uint8Array(array.buffer);
const words = (array: Uint8Array) => new Uint16Array(array.slice().buffer);

/** float16 by its definition in IEEE 754: sign, 5 bits of exponent with bias 15, 10 bits of fraction. */
function halfByDefinition(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** bfloat16 by its definition: 8 bits of exponent with bias 127, 7 bits of fraction. */
function bfloatByDefinition(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 7) & 255;
  const fraction = bits & 127;
  if (exponent === 255) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? fraction * 2 ** -133 : (1 + fraction / 128) * 2 ** (exponent - 127));
}

/** Nearest 16-bit value by search among all finite ones, ties to even bits: slow and plain. */
function nearestBy(definition: (bits: number) => number, infinityBits: number) {
  const finite = Float64Array.from({ length: infinityBits }, (_, bits) => definition(bits));
  const step = (finite[infinityBits - 1] as number) - (finite[infinityBits - 2] as number);
  const overflow = (finite[infinityBits - 1] as number) + step / 2;
  return (value: number): number => {
    const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
    const magnitude = Math.abs(value);
    if (magnitude >= overflow) return sign | infinityBits;
    let low = 0;
    let high = infinityBits - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((finite[middle] as number) <= magnitude) low = middle;
      else high = middle - 1;
    }
    if (low === infinityBits - 1) return sign | low;
    const below = magnitude - (finite[low] as number);
    const above = (finite[low + 1] as number) - magnitude;
    return sign | (below < above || (below === above && low % 2 === 0) ? low : low + 1);
  };
}

const kinds = [
  { name: 'float16', type: DataType.FLOAT16, definition: halfByDefinition, infinity: 0x7c00 },
  { name: 'bfloat16', type: DataType.BFLOAT16, definition: bfloatByDefinition, infinity: 0x7f80 },
] as const;

describe.each(kinds)('$name', ({ type, definition, infinity }) => {
  test('every bit pattern decodes to the value of its definition', () => {
    const decoded = decodeFloats(type, bytes(every16Bits()));
    const wrong = Array.from(decoded).flatMap((value, i) => (Object.is(value, definition(i)) ? [] : [i]));
    expect(wrong).toEqual([]);
  });

  test('every bit pattern survives decoding and encoding, NaN payloads included', () => {
    const decoded = decodeFloats(type, bytes(every16Bits()));
    expect(words(encodeFloats(type, decoded))).toEqual(every16Bits());
  });

  test('values between two neighbours round to the nearest, ties to even', () => {
    const nearest = nearestBy(definition, infinity);
    const values: number[] = [];
    for (let bits = 0; bits < infinity; bits++) {
      const low = definition(bits);
      const high = bits + 1 === infinity ? low + (low - definition(bits - 1)) : definition(bits + 1);
      for (const part of [0.25, 0.5, 0.75])
        values.push(low + (high - low) * part, -low - (high - low) * part);
    }
    const wanted = Uint16Array.from(values, nearest);
    expect(words(encodeFloats(type, Float64Array.from(values)))).toEqual(wanted);
    // A quarter of the smallest subnormal bfloat16 is exact in binary32 as well, so both inputs must agree.
    expect(words(encodeFloats(type, Float32Array.from(values)))).toEqual(wanted);
  });

  test('a double is rounded once, not by way of float32', () => {
    const nearest = nearestBy(definition, infinity);
    const tie = (definition(0x3c00) + definition(0x3c01)) / 2;
    const justAbove = tie * (1 + 2 ** -52);
    expect(Math.fround(justAbove)).toBe(tie);
    expect(words(encodeFloats(type, Float64Array.of(justAbove)))).toEqual(Uint16Array.of(nearest(justAbove)));
    fc.assert(
      fc.property(fc.double({ noNaN: true }), (value) => {
        expect(words(encodeFloats(type, Float64Array.of(value)))[0]).toBe(nearest(value));
      }),
    );
  });

  test('a NaN stays a NaN, also one whose payload does not fit', () => {
    const narrow = new Float32Array(Uint32Array.of(0x7f800001, 0xff800001).buffer);
    const decoded = decodeFloats(type, encodeFloats(type, narrow));
    expect(Array.from(decoded)).toEqual([Number.NaN, Number.NaN]);
    const wide = decodeFloats(type, encodeFloats(type, Float64Array.of(Number.NaN)));
    expect(Array.from(wide)).toEqual([Number.NaN]);
  });
});

test('float32 and float64 keep their bytes, from any alignment, in arrays of their own', () => {
  const odd = new Uint8Array(17).map((_, i) => i * 7).subarray(1);
  for (const type of [DataType.FLOAT, DataType.DOUBLE]) {
    const decoded = decodeFloats(type, odd);
    expect(encodeFloats(type, decoded)).toEqual(new Uint8Array(odd));
    const before = odd.slice();
    decoded.fill(0);
    expect(odd).toEqual(before);
  }
  expect(decodeFloats(DataType.FLOAT, odd)).toBeInstanceOf(Float32Array);
  expect(decodeFloats(DataType.DOUBLE, odd)).toBeInstanceOf(Float64Array);
});

test('a view into a larger array encodes only what it shows', () => {
  const view = Float32Array.of(9, 1, 2, 9).subarray(1, 3);
  expect(words(encodeFloats(DataType.FLOAT16, view))).toEqual(Uint16Array.of(0x3c00, 0x4000));
  expect(encodeFloats(DataType.FLOAT, view)).toHaveLength(8);
});

test('other types are refused', () => {
  expect(isFloatType(DataType.BFLOAT16)).toBe(true);
  expect(isFloatType(DataType.INT8)).toBe(false);
  expect(() => decodeFloats(DataType.INT8, new Uint8Array(1))).toThrow('not a float type: int8');
});
