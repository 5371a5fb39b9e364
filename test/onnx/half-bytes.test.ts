/** Numbers of 4 bits: two in a byte, the first in its low half. */
import { packHalves, unpackHalves } from '../../src/onnx';
import fc from '../support/properties';

test('the first of two stands in the low half', () => {
  expect([...unpackHalves(Uint8Array.of(0x21, 0xf3), 4)]).toEqual([1, 2, 3, 15]);
  expect([...packHalves(Uint8Array.of(1, 2, 3, 15))]).toEqual([0x21, 0xf3]);
});

test('of a negative number the low half counts, and an odd last one stands alone', () => {
  expect([...packHalves(Uint8Array.of(256 - 1, 256 - 8, 7))]).toEqual([0x8f, 0x07]);
  expect([...unpackHalves(Uint8Array.of(0x8f, 0x07), 3)]).toEqual([15, 8, 7]);
});

test('what was packed is unpacked', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 15 }), { maxLength: 9 }), (numbers) => {
      const packed = packHalves(Uint8Array.from(numbers));
      expect(packed.length).toBe(Math.ceil(numbers.length / 2));
      expect([...unpackHalves(packed, numbers.length)]).toEqual(numbers);
    }),
  );
});
