/** SPEC section 7: which layers are monitored, and what they are called. */
import { numberLayers, pickEvenly } from '../../src/attention/monitored';
import type { RewrittenLayer } from '../../src/attention/record';

/** Expected by Python: [round(i * (L - 1) / (N - 1)) for i in range(N)], N at most L, and [0] for N = 1. */
test.each([
  [2, 1, [0]],
  [2, 2, [0, 1]],
  [2, 3, [0, 1]],
  [4, 3, [0, 2, 3]],
  [6, 3, [0, 2, 5]],
  [12, 4, [0, 4, 7, 11]],
  [28, 3, [0, 14, 27]],
  [32, 3, [0, 16, 31]],
  [24, 5, [0, 6, 12, 17, 23]],
])('of %d layers, %d evenly: %j', (layers, wanted, expected) => {
  const all = Array.from({ length: layers }, (_, index) => index);
  expect(pickEvenly(all, wanted)).toEqual(expected);
});

test('of nothing, and of none wanted, nothing', () => {
  expect(pickEvenly([], 3)).toEqual([]);
  expect(pickEvenly([1, 2], 0)).toEqual([]);
});

const layer = (path: string, depth: number) => ({ path, depth, node: path }) as RewrittenLayer;
const numbersOf = (layers: readonly RewrittenLayer[]) =>
  numberLayers(layers).map(({ number, path, runs }) => [number, path, runs.length]);

test('a layer is called by its depth, also where some layers were left', () => {
  expect(numbersOf([layer('h.3.attn', 3), layer('h.1.attn', 1)])).toEqual([
    [1, 'h.1.attn', 1],
    [3, 'h.3.attn', 1],
  ]);
});

test('kinds of attention count on from one another, and shared weights count once', () => {
  const layers = [
    layer('encoder.0.attn', 0),
    layer('encoder.1.attn', 1),
    layer('decoder.0.self', 0),
    layer('decoder.0.self', 0),
    layer('decoder.0.cross', 0),
  ];
  expect(numbersOf(layers)).toEqual([
    [0, 'encoder.0.attn', 1],
    [1, 'encoder.1.attn', 1],
    [2, 'decoder.0.self', 2],
    [3, 'decoder.0.cross', 1],
  ]);
});
