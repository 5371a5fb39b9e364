import {
  type Array64,
  array64,
  broadcastTo,
  differentialAttention,
  differentialMap,
  lambdaInit,
  lambdaOf,
  pairMaps,
  pairValues,
  repeatHeads,
  rmsNorm,
  scores,
  softmax,
  splitDifferentialAttention,
  unpair,
  weigh,
} from '../../../src/verify/reference';

/** Numbers that look random and are the same each time. */
function numbers(shape: number[], seed: number): Array64 {
  const count = shape.reduce((product, length) => product * length, 1);
  return array64(
    shape,
    Array.from({ length: count }, (_, i) => Math.sin(1000 * seed + 12.9898 * (i + 1)) * 2),
  );
}
const plain = { mix: 1, norm: undefined, timesOneMinusLambdaInit: undefined, gain: 1 } as const;

function expectClose(actual: Array64, expected: Array64): void {
  expect(actual.shape).toEqual(expected.shape);
  actual.data.forEach((value, i) => {
    expect(value).toBeCloseTo(expected.data[i] as number, 13);
  });
}

describe('the parts, on numbers that can be checked by hand', () => {
  test('scores: two queries, two keys, a bias for each key', () => {
    const Q = array64([1, 2, 2], [1, 0, 1, 2]);
    const K = array64([1, 2, 2], [3, 4, 5, 6]);
    expect(scores(Q, K, 0.5).data).toEqual(Float64Array.of(1.5, 2.5, 5.5, 8.5));
    expect(scores(Q, K, 0.5, array64([2], [10, 20])).data).toEqual(Float64Array.of(11.5, 22.5, 15.5, 28.5));
    expect(() => scores(Q, array64([1, 2, 3], [1, 2, 3, 4, 5, 6]), 1)).toThrow('[1,2,3] is not [1,2,2]');
  });

  test('softmax: weights 1 : 3, large scores, masked keys, and a row that is masked throughout', () => {
    expectClose(softmax(array64([1, 2], [0, Math.log(3)])), array64([1, 2], [0.25, 0.75]));
    expectClose(softmax(array64([1, 2], [1000, 1000])), array64([1, 2], [0.5, 0.5]));
    expectClose(softmax(array64([2], [Number.NEGATIVE_INFINITY, 5])), array64([2], [0, 1]));
    const none = softmax(array64([1, 2], [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]));
    expect(Array.from(none.data)).toEqual([Number.NaN, Number.NaN]);
  });

  test('weigh: each query takes its share of each value', () => {
    const A = array64([1, 2, 2], [1, 0, 0.5, 0.25]);
    expect(weigh(A, array64([1, 2, 1], [8, 4]))).toEqual(array64([1, 2, 1], [8, 5]));
  });

  test('rmsNorm: mean square of 3, 4, 0, 0 is 6.25', () => {
    expectClose(rmsNorm(array64([4], [3, 4, 0, 0]), 0), array64([4], [1.2, 1.6, 0, 0]));
    expectClose(
      rmsNorm(array64([4], [3, 4, 0, 0]), 2.75, Float64Array.of(1, 10, 1, 1)),
      array64([4], [1, 40 / 3, 0, 0]),
    );
    expect(() => rmsNorm(array64([4], [3, 4, 0, 0]), 0, Float64Array.of(1))).toThrow(
      'a norm weight of 1 for width 4',
    );
  });

  test('lambda: exp(2) - exp(1) + 0.2, and lambda_init of the first layers as the paper has it', () => {
    const parameters = {
      lambda_q1: Float64Array.of(1, 1),
      lambda_k1: Float64Array.of(0.5, 1.5),
      lambda_q2: Float64Array.of(2, 0),
      lambda_k2: Float64Array.of(0.5, 9),
      lambda_init: 0.2,
    };
    expect(lambdaOf(parameters)).toBeCloseTo(7.38905609893065 - Math.E + 0.2, 14);
    expect(lambdaInit(0)).toBeCloseTo(0.2, 15);
    expect(lambdaInit(1)).toBeCloseTo(0.8 - 0.6 * 0.7408182206817179, 15);
    expect(lambdaInit(1000)).toBeCloseTo(0.8, 15);
  });

  test('broadcastTo repeats axes of length 1 and adds those in front', () => {
    const column = array64([2, 1], [1, 2]);
    expect(broadcastTo(column, [2, 2, 3]).data).toEqual(Float64Array.of(1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2));
    expect(() => broadcastTo(column, [3, 3])).toThrow('[2,1] does not broadcast to [3,3]');
    expect(() => broadcastTo(column, [2])).toThrow('[2,1] does not broadcast to [2]');
  });
});

describe('duplicate heads', () => {
  const A1 = softmax(numbers([2, 3, 4, 5], 1));
  const A2 = softmax(numbers([2, 3, 4, 5], 2));
  const V = numbers([2, 3, 5, 6], 3);
  const heads = { A1_BHST: A1, A2_BHST: A2, V_BHTD: V };

  test('one query, two keys, all of the formula', () => {
    // A = [0.75, 0.25] - 0.5 * 0.4 * [0.5, 0.5] = [0.65, 0.15]; A V = [0.65 * 4, 0.15 * 8] = [2.6, 1.2].
    const layer = {
      A1_BHST: array64([1, 2], [0.75, 0.25]),
      A2_BHST: array64([1, 2], [0.5, 0.5]),
      V_BHTD: array64([2, 2], [4, 0, 0, 8]),
      lambda: 0.4,
      mix: 0.5,
      norm: undefined,
      timesOneMinusLambdaInit: undefined,
      gain: 1,
    };
    expectClose(differentialAttention(layer), array64([1, 2], [2.6, 1.2]));
    // Mean square 4.1, and 4.1 + eps = 4; weights 1 and 10; (1 - 0.2) * 3 = 2.4.
    const norm = { eps: -0.1, weight: Float64Array.of(1, 10) };
    expectClose(
      differentialAttention({ ...layer, norm, timesOneMinusLambdaInit: 0.2, gain: 3 }),
      array64([1, 2], [(2.6 / 2) * 2.4, (12 / 2) * 2.4]),
    );
  });

  test('lambda 0 and mix 0 give the original attention', () => {
    expectClose(differentialAttention({ ...plain, ...heads, lambda: 0 }), weigh(A1, V));
    expectClose(differentialAttention({ ...plain, ...heads, lambda: 0.7, mix: 0 }), weigh(A1, V));
  });

  test('equal maps give 1 - mix * lambda times the original, which the gain of `preserve` undoes', () => {
    const same = { ...heads, A2_BHST: A1, lambda: 0.3, mix: 0.5 };
    const original = weigh(A1, V);
    const scaled = { shape: original.shape, data: original.data.map((value) => value * 0.85) };
    expectClose(differentialAttention({ ...plain, ...same }), scaled);
    expectClose(differentialAttention({ ...plain, ...same, gain: 1 / 0.85 }), original);
  });

  test('the norm without eps forgets the length of the difference, and each row has mean square 1', () => {
    const C = differentialAttention({ ...plain, ...heads, lambda: 0.3, norm: { eps: 0 } });
    const scaled = { ...heads, V_BHTD: { shape: V.shape, data: V.data.map((value) => value * 7) } };
    expectClose(differentialAttention({ ...plain, ...scaled, lambda: 0.3, norm: { eps: 0 } }), C);
    expect(C.data.subarray(0, 6).reduce((sum, value) => sum + value * value, 0) / 6).toBeCloseTo(1, 12);
  });

  test('leading axes do not matter: [B * H, S, T] gives the same numbers', () => {
    const flat = (x: Array64) => array64([6, ...x.shape.slice(2)], x.data);
    const flatHeads = { A1_BHST: flat(A1), A2_BHST: flat(A2), V_BHTD: flat(V) };
    const C = differentialAttention({ ...plain, ...heads, lambda: 0.3 });
    expectClose(differentialAttention({ ...plain, ...flatHeads, lambda: 0.3 }), flat(C));
  });

  test('a lambda for each token and head scales that row of the second map only', () => {
    const lambda = array64([1, 3, 1, 1], [0, 0.5, 1]);
    const map = differentialMap({ A1_BHST: A1, A2_BHST: A2, lambda, mix: 1 });
    const one = [0, 0.5, 1].map((value) =>
      differentialMap({ A1_BHST: A1, A2_BHST: A2, lambda: value, mix: 1 }),
    );
    map.data.forEach((value, i) => {
      expect(value).toBe(one[Math.floor(i / 20) % 3]?.data[i]);
    });
    const perToken = array64([4, 1], [0, 1, 2, 3]);
    expect(differentialMap({ A1_BHST: A1, A2_BHST: A2, lambda: perToken, mix: 1 }).data[7]).toBe(
      (A1.data[7] as number) - (A2.data[7] as number),
    );
  });

  test('heads do not see each other: each one alone gives what it gives among the others', () => {
    const C = differentialAttention({ ...plain, ...heads, lambda: 0.3, norm: { eps: 1e-5 } });
    const alone = (x: Array64, head: number) => {
      const [X, Y] = x.shape.slice(2) as [number, number];
      return array64([X, Y], x.data.slice(head * X * Y, (head + 1) * X * Y));
    };
    for (let head = 0; head < 6; head++) {
      const layer = { A1_BHST: alone(A1, head), A2_BHST: alone(A2, head), V_BHTD: alone(V, head) };
      expectClose(
        differentialAttention({ ...plain, ...layer, lambda: 0.3, norm: { eps: 1e-5 } }),
        alone(C, head),
      );
    }
  });

  test('maps of different shapes are refused', () => {
    expect(() => differentialMap({ A1_BHST: A1, A2_BHST: V, lambda: 0, mix: 1 })).toThrow('is not');
  });
});

describe('split heads', () => {
  /** Heads whose every number is the number of the head. */
  const labelled = (H: number, X: number, Y: number) =>
    array64(
      [1, H, X, Y],
      Array.from({ length: H * X * Y }, (_, i) => Math.floor(i / (X * Y))),
    );
  const firstOfHeads = (x: Array64) => {
    const [H, X, Y] = x.shape.slice(-3) as [number, number, number];
    return Array.from({ length: H }, (_, head) =>
      Array.from(x.data.subarray(head * X * Y, head * X * Y + Y)),
    );
  };

  test('halves pair i with i + h/2, adjacent 2i with 2i + 1', () => {
    const A = labelled(4, 1, 1);
    expect(pairMaps(A, 'halves').map((x) => Array.from(x.data))).toEqual([
      [0, 1],
      [2, 3],
    ]);
    expect(pairMaps(A, 'adjacent').map((x) => Array.from(x.data))).toEqual([
      [0, 2],
      [1, 3],
    ]);
    expect(() => pairMaps(labelled(3, 1, 1), 'halves')).toThrow('3 is odd');
  });

  test('values: halves after repeating to h, adjacent as they are stored', () => {
    expect(firstOfHeads(pairValues(labelled(2, 3, 1), 4, 'halves'))).toEqual([
      [0, 1],
      [0, 1],
    ]);
    expect(firstOfHeads(pairValues(labelled(4, 3, 1), 4, 'halves'))).toEqual([
      [0, 2],
      [1, 3],
    ]);
    expect(firstOfHeads(pairValues(labelled(4, 3, 1), 8, 'adjacent'))).toEqual([
      [0, 1],
      [0, 1],
      [2, 3],
      [2, 3],
    ]);
    expect(firstOfHeads(repeatHeads(labelled(2, 1, 1), 4))).toEqual([[0], [0], [1], [1]]);
    expect(() => repeatHeads(labelled(3, 1, 1), 4)).toThrow('3 heads do not divide 4');
  });

  test('unpair: merging heads of width d gives the rows that merging pairs of width 2d gives', () => {
    const C = numbers([2, 3, 4, 6], 5);
    const merged = (x: Array64, b: number, s: number) => {
      const [, H, S, D] = x.shape as [number, number, number, number];
      return Array.from({ length: H * D }, (_, column) => {
        return x.data[((b * H + Math.floor(column / D)) * S + s) * D + (column % D)];
      });
    };
    expect(unpair(C).shape).toEqual([2, 6, 4, 3]);
    for (const [b, s] of [
      [0, 0],
      [1, 2],
      [1, 3],
    ] as const)
      expect(merged(unpair(C), b, s)).toEqual(merged(C, b, s));
  });

  test.each(['halves', 'adjacent'] as const)(
    '%s: C of each pair, with the norm over both widths',
    (pairing) => {
      const A = softmax(numbers([2, 4, 3, 5], 1));
      const V = numbers([2, 4, 5, 2], 2);
      const layer = { ...plain, A_BHST: A, V_BGTD: V, pairing, lambda: 0.4, norm: { eps: 1e-5 } };
      const C = splitDifferentialAttention(layer);
      expect(C.shape).toEqual([2, 4, 3, 2]);
      const [b, s] = [1, 2];
      [0, 1].forEach((pair) => {
        const [positive, negative] = pairing === 'halves' ? [pair, pair + 2] : [2 * pair, 2 * pair + 1];
        const row = [positive, negative].flatMap((valueHead) =>
          [0, 1].map((d) => {
            let sum = 0;
            for (let t = 0; t < 5; t++) {
              const weight = (head: number) => A.data[((b * 4 + head) * 3 + s) * 5 + t] as number;
              sum +=
                (weight(positive) - 0.4 * weight(negative)) *
                (V.data[((b * 4 + valueHead) * 5 + t) * 2 + d] as number);
            }
            return sum;
          }),
        );
        const scale = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / 4 + 1e-5);
        row.forEach((value, column) => {
          const head = 2 * pair + Math.floor(column / 2);
          expect(C.data[((b * 4 + head) * 3 + s) * 2 + (column % 2)]).toBeCloseTo(value / scale, 12);
        });
      });
    },
  );
});
