/** How far maps may be off because a model rounds its scores: a bound that holds, and nothing where numbers are ordinary. */

import { DataType } from '../../../src/onnx';
import { decodeFloats, encodeFloats } from '../../../src/onnx/floats';
import { added, scores, softmax, weigh } from '../../../src/verify/reference';
import { type Rounding, roundTo } from '../../../src/verify/reference/rounding';
import { normal } from '../../../src/weights/random';

const { FLOAT, FLOAT16, BFLOAT16 } = DataType;

function numbers(name: string, count: number, size = 1): Float64Array {
  return Float64Array.from([...normal(1, name, count, size)].flatMap((chunk) => [...chunk]));
}

test.each([FLOAT16, BFLOAT16])('numbers are rounded as they are stored, type %i', (type) => {
  for (const size of [1e-6, 0.01, 1, 100, 30_000]) {
    const values = numbers(`round ${size}`, 500, size);
    const stored = decodeFloats(type, encodeFloats(type, values));
    expect([...values].map((value) => roundTo(type, Math.fround(value)) + 0)).toEqual(
      [...stored].map((x) => x + 0),
    );
  }
});

test('halves go to the even number, and what is too large is infinite', () => {
  expect([-10_004, -10_012, 65_519, 65_520].map((x) => roundTo(FLOAT16, x))).toEqual([
    -10_000,
    -10_016,
    65_504,
    Number.POSITIVE_INFINITY,
  ]);
});

const [S, T, D] = [4, 8, 16];

/** What a row weighs: as the reference rounds it, as a model does, and exactly. */
function both(mask: number, type: number, { above = 1e-4, off = 0 } = {}) {
  const array = (name: string, shape: number[]) => ({
    shape,
    data: numbers(
      name,
      shape.reduce((all, size) => all * size, 1),
    ).map((x) => roundTo(type, x)),
  });
  const [Q, K, V] = [array('q', [1, S, D]), array('k', [1, T, D]), array('v', [1, T, D])];
  const bias = { shape: [T], data: new Float64Array(T).fill(mask) };
  const rounding: Rounding = { type, above };
  const reference = softmax(scores(Q, K, 0.25, bias, rounding), rounding);
  const product = scores(Q, K, 0.25);
  const sum = added({ ...product, data: product.data.map((x) => x * (1 + off)) }, bias);
  const model = softmax({ ...sum, data: sum.data.map((x) => roundTo(type, x)) });
  return {
    reference: weigh(reference, V),
    model: weigh(model, V),
    exact: weigh(softmax(scores(Q, K, 0.25, bias)), V),
  };
}

const far = (a: Float64Array, b: Float64Array) =>
  Math.max(...a.map((x, i) => Math.abs(x - (b[i] ?? Number.NaN))));

test.each([
  [-10_000, FLOAT],
  [-1e6, FLOAT],
  [-10_000, FLOAT16],
  [-65_504, FLOAT16],
  [-10_000, BFLOAT16],
])('a row of padding that adds %d to scores of type %i: as the model, which is not exact', (mask, type) => {
  const { reference, model, exact } = both(mask, type);
  expect(far(model.data, exact.data)).toBeGreaterThan(5e-5);
  expect(far(reference.data, model.data)).toBeLessThan(1e-12);
});

test.each([1e-7, -1e-7, 3e-8])('a product that is off by %d goes no farther than the slack', (off) => {
  let slacks = 0;
  for (const mask of [-10_000, -3e4, -1e5, -1e6, -12_345]) {
    const { reference, model } = both(mask, FLOAT, { off });
    reference.data.forEach((x, i) => {
      const slack = reference.slack?.[i] ?? 0;
      if (slack > 0) slacks++;
      expect(Math.abs(x - (model.data[i] ?? Number.NaN))).toBeLessThanOrEqual(slack + 1e-12);
    });
  }
  // Few scores lie in the middle of two numbers.
  expect(slacks).toBeLessThan(5 * S * D * 0.2);
});

test('a score in the middle of two numbers may be either, and its row has slack for that', () => {
  const step = 2 ** -10;
  const x = {
    shape: [1, 2],
    data: Float64Array.of(step / 2, 3 * step),
    slack: new Float64Array(2).fill(1e-8),
  };
  const rounding = { type: FLOAT, above: 1e-4 };
  const bias = { shape: [2], data: new Float64Array(2).fill(-10_000) };
  const { data, slack = new Float64Array(0) } = softmax(added(x, bias, rounding), rounding);
  const either = [0, step].map((first) => 1 / (1 + Math.exp(3 * step - first)));
  for (const one of either)
    expect(Math.abs((data[0] ?? 0) - one)).toBeLessThanOrEqual((slack[0] ?? 0) + 1e-12);
  expect(slack[0]).toBeLessThan(step);
});

test.each([
  [-3, FLOAT, 1e-4],
  [-100, FLOAT, 1e-4],
  [-4, FLOAT16, 2e-2],
])('scores around %d of type %i have no slack', (mask, type, above) => {
  const { reference } = both(mask, type, { above });
  expect([...(reference.slack ?? [])].every((each) => each === 0)).toBe(true);
});

test('masked keys beside others leave a row without slack', () => {
  const x = { shape: [1, 1, 3], data: Float64Array.of(1, 2, 2 ** -11) };
  const bias = { shape: [3], data: Float64Array.of(0, 0, -10_000) };
  const rounding = { type: FLOAT, above: 1e-4 };
  const maps = softmax(added({ ...x, slack: new Float64Array(3).fill(1e-7) }, bias, rounding), rounding);
  expect([...(maps.slack ?? [])]).toEqual([0, 0, 0]);
});
