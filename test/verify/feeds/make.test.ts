import { DataType } from '../../../src/onnx/data-types';
import {
  type FeedCase,
  type FeedInput,
  guessRole,
  makeFeeds,
  planCases,
  type Role,
} from '../../../src/verify/feeds';
import { withSession } from '../../../src/verify/session';
import { toFloat64 } from '../../../src/verify/tensor';
import { openExport } from '../../support/fixtures';

const base: FeedCase = { batch: 3, sequence: 5, past: 0, padding: 'none', seed: 0 };
const input = (role: Role, dtype: DataType, ...shape: (number | string)[]): FeedInput => ({
  name: 'x',
  dtype,
  shape,
  role,
});
const make = (one: FeedInput, feedCase: Partial<FeedCase> = {}) => {
  const tensor = makeFeeds([one], { ...base, ...feedCase })['x'];
  if (!tensor) throw new Error('no tensor');
  return tensor;
};
const rows = (one: FeedInput, feedCase: Partial<FeedCase> = {}) => {
  const tensor = make(one, feedCase);
  const width = tensor.shape.at(-1) ?? 1;
  const numbers = Array.from(toFloat64(tensor));
  return Array.from({ length: numbers.length / width }, (_, row) =>
    numbers.slice(row * width, (row + 1) * width),
  );
};

test('ids are integers below the vocabulary and use all of it', () => {
  for (const dtype of [DataType.INT64, DataType.INT32]) {
    const ids = toFloat64(make(input({ kind: 'ids', vocabulary: 7 }, dtype, 'b', 1000)));
    expect(new Set(ids)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6]));
  }
  expect(new Set(toFloat64(make(input({ kind: 'ids', vocabulary: 1 }, DataType.INT64, 'b', 50))))).toEqual(
    new Set([0]),
  );
});

test.each([DataType.INT64, DataType.INT32, DataType.BOOL, DataType.FLOAT, DataType.FLOAT16])(
  'a mask of element type %d: each row has one padded key more than the row before, none is all padding',
  (dtype) => {
    const mask = input({ kind: 'mask' }, dtype, 'b', 's');
    expect(make(mask).dtype).toBe(dtype);
    expect(rows(mask, { sequence: 2 })).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
    ]);
    expect(rows(mask, { sequence: 2, padding: 'right' })).toEqual([
      [1, 1],
      [1, 0],
      [1, 0],
    ]);
    expect(rows(mask, { sequence: 3, padding: 'left' })).toEqual([
      [1, 1, 1],
      [0, 1, 1],
      [0, 0, 1],
    ]);
    expect(rows(mask, { batch: 1, padding: 'right' })).toEqual([[1, 1, 1, 1, 0]]);
  },
);

test('a row of padding is the last one, and it alone', () => {
  const mask = input({ kind: 'mask' }, DataType.INT64, 'b', 's');
  expect(rows(mask, { batch: 3, sequence: 2, padding: 'row' })).toEqual([
    [1, 1],
    [1, 1],
    [0, 0],
  ]);
});

test('a mask that is added has 0 for tokens, and its padding is the same for each query', () => {
  const mask = input({ kind: 'mask', form: 'additive' }, DataType.FLOAT, 'b', 1, 's', 't');
  expect(rows(mask, { batch: 2, sequence: 2, padding: 'left' })).toEqual([
    [0, 0],
    [0, 0],
    [-10_000, 0],
    [-10_000, 0],
  ]);
});

test('positions count from the length of the past; lengths and flags follow it', () => {
  expect(
    rows(input({ kind: 'positions' }, DataType.INT64, 'b', 's'), { batch: 2, sequence: 3, past: 6 }),
  ).toEqual([
    [6, 7, 8],
    [6, 7, 8],
  ]);
  expect(rows(input({ kind: 'positions' }, DataType.INT64, 's'), { sequence: 3 })).toEqual([[0, 1, 2]]);
  const total = (offset: number, ...shape: string[]) =>
    toFloat64(make(input({ kind: 'total-length', offset }, DataType.INT32, ...shape), { past: 6 }));
  expect(total(0)).toEqual(Float64Array.of(11));
  expect(total(-1, 'b')).toEqual(Float64Array.of(10, 10, 10));
  const flag = input({ kind: 'has-past' }, DataType.BOOL, 1);
  expect([make(flag, { past: 6 }).data, make(flag).data]).toEqual([Uint8Array.of(1), Uint8Array.of(0)]);
});

test('the mix is the one of the case', () => {
  const mix = input({ kind: 'mix' }, DataType.FLOAT);
  expect(make(mix)).toEqual({ dtype: DataType.FLOAT, shape: [], data: Float32Array.of(1) });
  expect(make(mix, { mix: 0.25 }).data).toEqual(Float32Array.of(0.25));
});

test('data is normally distributed, in every float type; an empty past is empty', () => {
  const data = (dtype: DataType) => toFloat64(make(input({ kind: 'data' }, dtype, 'b', 's', 1000)));
  const numbers = data(DataType.FLOAT);
  expect(numbers.reduce((sum, x) => sum + x * x, 0) / numbers.length).toBeCloseTo(1, 1);
  expect(Math.max(...numbers)).toBeLessThan(6);
  const half = data(DataType.FLOAT16);
  expect(half.every((value, i) => Math.abs(value - (numbers[i] ?? 0)) < 2e-3)).toBe(true);
  expect(make(input({ kind: 'past' }, DataType.FLOAT, 'b', 2, 'p', 8)).shape).toEqual([3, 2, 0, 8]);
});

test('the same seed gives the same tensors; another seed or another input gives others', () => {
  const data = input({ kind: 'data' }, DataType.FLOAT, 'b', 's');
  expect(make(data)).toEqual(make(data));
  expect(make(data, { seed: 1 })).not.toEqual(make(data));
  const both = makeFeeds([data, { ...data, name: 'y' }], base);
  expect(both['x']).toEqual(make(data));
  expect(both['y']?.data).not.toEqual(both['x']?.data);
});

test('types that hold no numbers are refused', () => {
  expect(() => make(input({ kind: 'data' }, DataType.STRING, 1))).toThrow('no numbers can be made');
});

test.each([
  'bert-enc-dy18-sdpa',
  'llama-past-dy18-sdpa',
  'llama-past-ts17-sdpa',
  'llama-merged-if-ts17',
  'bart-seq-dy18-eager',
  't5-seq-ts17-sdpa',
  'vit-vis-dy18-sdpa+fp16',
  'phi-past-dy23-sdpa',
])('ONNX Runtime runs %s on all the cases planned for it', async (name) => {
  await withSession(openExport(name).model, {}, async (session) => {
    const inputs = session.inputs.map((one) => ({ ...one, role: guessRole(one) }));
    for (const feedCase of planCases(inputs)) {
      const outputs = await session.run(makeFeeds(inputs, feedCase));
      for (const tensor of Object.values(outputs))
        expect(toFloat64(tensor).every(Number.isFinite)).toBe(true);
    }
  });
});
