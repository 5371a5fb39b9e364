import { DataType } from '../../src/onnx/data-types';
import { compare, compareTensors } from '../../src/verify/compare';
import type { Tensor } from '../../src/verify/tensor';
import { TOLERANCES } from '../../src/verify/tolerance';

const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
const float = (shape: number[], ...values: number[]): Tensor => ({
  dtype: DataType.FLOAT,
  shape,
  data: Float32Array.from(values),
});
const exact = { atol: 0, rtol: 0 };

test('equal tensors pass with no error at all', () => {
  expect(compareTensors(float([2, 2], 1, 2, 3, 4), float([2, 2], 1, 2, 3, 4), exact)).toEqual({
    passed: true,
    mismatch: undefined,
    tolerance: exact,
    maxAbs: 0,
    maxRelative: 0,
    rms: 0,
    slack: 0,
    cosine: expect.closeTo(1, 15),
    top1: 1,
    nanMismatches: 0,
    infinityMismatches: 0,
    finite: 4,
    failures: 0,
    worst: undefined,
  });
});

test('the measures are those of their definitions', () => {
  const result = compareTensors(float([2, 2], 3, 4, 0, 0), float([2, 2], 3, 5, 2, 0), {
    atol: 1,
    rtol: 0.25,
  });
  expect(result.maxAbs).toBe(2);
  // rms of the expected numbers is 5 / 2, so the 2 at a zero counts as 0.8.
  expect(result.maxRelative).toBeCloseTo(0.8, 15);
  expect(result.rms).toBeCloseTo(Math.sqrt(5 / 4), 15);
  expect(result.cosine).toBeCloseTo(29 / (5 * Math.sqrt(38)), 15);
  expect(result.failures).toBe(1);
  expect(result.passed).toBe(false);
  expect(result.worst).toEqual({ index: [1, 0], expected: 0, actual: 2 });
  // The rows' largest: 4 and 5 at the same place, 0 (the first) and 2 at the same place.
  expect(result.top1).toBe(1);
  expect(compareTensors(float([2, 2], 3, 4, 0, 0), float([2, 2], 5, 4, 0, 0)).top1).toBe(0.5);
});

test('the worst element is the first of the worst, measured by its tolerance', () => {
  const tolerance = { atol: 0.1, rtol: 0.1 };
  const result = compareTensors(float([3], 100, 1, 1), float([3], 105, 1.5, 1.5), tolerance);
  expect(result.worst?.index).toEqual([1]);
  expect(compareTensors(float([2], 1, 1), float([2], 2, 4), exact).worst?.index).toEqual([1]);
});

test('NaN and infinity pass against themselves and nothing else', () => {
  const same = compareTensors(
    float([4], nan, infinity, -infinity, 1),
    float([4], nan, infinity, -infinity, 1),
  );
  expect(same).toMatchObject({ passed: true, maxAbs: 0, rms: 0, nanMismatches: 0, infinityMismatches: 0 });
  const moved = compareTensors(float([4], nan, 1, infinity, 9), float([4], 1, nan, -infinity, 0));
  expect(moved).toMatchObject({
    passed: false,
    nanMismatches: 2,
    infinityMismatches: 1,
    failures: 4,
    maxAbs: 9,
  });
  expect(moved.worst).toEqual({ index: [0], expected: nan, actual: 1 });
  // An infinite expected number must not make an infinite tolerance.
  expect(compareTensors(float([1], infinity), float([1], 1)).passed).toBe(false);
  expect(compareTensors(float([1], 1), float([1], infinity)).passed).toBe(false);
});

test('shape, type and presence are compared first, and failing is a result and not an exception', () => {
  const double: Tensor = { dtype: DataType.DOUBLE, shape: [1], data: Float64Array.of(1) };
  expect(compareTensors(float([1], 1), double)).toMatchObject({
    passed: false,
    mismatch: 'element type double where float was expected',
    maxAbs: nan,
  });
  expect(compareTensors(float([1, 2], 1, 2), float([2], 1, 2)).mismatch).toBe(
    'shape [2] where [1,2] was expected',
  );
  const result = compare({ a: float([1], 1), b: float([1], 1) }, { a: float([1], 1), c: float([1], 1) });
  expect(result.passed).toBe(false);
  expect(result.outputs['a']?.passed).toBe(true);
  expect(result.outputs['b']?.mismatch).toBe('missing');
  expect(result.outputs['c']?.mismatch).toBe('not expected');
  expect(compare({ a: float([1], 1) }, { a: float([1], 1) }).passed).toBe(true);
});

test('empty tensors and scalars are fine', () => {
  expect(compareTensors(float([0, 3]), float([0, 3]))).toMatchObject({
    passed: true,
    rms: 0,
    cosine: 1,
    top1: undefined,
  });
  expect(compareTensors(float([], 1), float([], 2))).toMatchObject({
    passed: false,
    worst: { index: [] },
    top1: undefined,
  });
});

test('without a tolerance the element type decides; integers and booleans must be equal', () => {
  const near = (by: number) => compareTensors(float([2], 0, 1), float([2], by, 1)).passed;
  expect([near(0.9e-4), near(1.1e-4)]).toEqual([true, false]);
  const half = (bits: number): Tensor => ({
    dtype: DataType.FLOAT16,
    shape: [1],
    data: Uint16Array.of(bits),
  });
  // 1, and its neighbours 10 and 100 steps of 2^-10 above.
  expect(compareTensors(half(0x3c00), half(0x3c0a)).passed).toBe(true);
  expect(compareTensors(half(0x3c00), half(0x3c64)).passed).toBe(false);
  const bfloat = (bits: number): Tensor => ({
    dtype: DataType.BFLOAT16,
    shape: [1],
    data: Uint16Array.of(bits),
  });
  expect(compareTensors(bfloat(0x3f80), bfloat(0x3f81))).toMatchObject({ passed: true, maxAbs: 2 ** -7 });
  const integer = (value: bigint): Tensor => ({
    dtype: DataType.INT64,
    shape: [1],
    data: BigInt64Array.of(value),
  });
  expect(compareTensors(integer(5n), integer(5n)).passed).toBe(true);
  expect(compareTensors(integer(5n), integer(6n))).toMatchObject({
    passed: false,
    maxAbs: 1,
    top1: undefined,
  });
  expect(TOLERANCES.quantized).toEqual({ atol: 2e-2, rtol: 2e-2 });
});

test('a result that lost its direction shows in the cosine', () => {
  expect(compareTensors(float([2], 1, 0), float([2], -1, 0)).cosine).toBe(-1);
  expect(compareTensors(float([2], 1, 0), float([2], 0, 0)).cosine).toBe(0);
});
