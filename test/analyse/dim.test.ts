/** Dimensions are polynomials over symbols: their arithmetic is that of the numbers the symbols stand for. */

import { broadcast, Dim } from '../../src/analyse';
import fc from '../support/properties';

const SYMBOLS = ['batch', 'sequence', 'past'];

/** A polynomial with the function that evaluates it. */
interface Pair {
  readonly dim: Dim;
  readonly at: (values: readonly number[]) => number;
}

const number: fc.Arbitrary<Pair> = fc
  .integer({ min: -40, max: 40 })
  .map((value) => ({ dim: Dim.of(value), at: () => value }));
const symbol: fc.Arbitrary<Pair> = fc
  .nat({ max: SYMBOLS.length - 1 })
  .map((index) => ({ dim: Dim.symbol(SYMBOLS[index] ?? ''), at: (values) => values[index] ?? Number.NaN }));

const pair: fc.Arbitrary<Pair> = fc.letrec<{ pair: Pair }>((tie) => ({
  pair: fc.oneof(
    { maxDepth: 4 },
    number,
    symbol,
    fc
      .tuple(tie('pair'), tie('pair'), fc.constantFrom('plus', 'minus', 'times'))
      .map(([a, b, operation]): Pair => {
        const dim = a.dim[operation](b.dim);
        const at = (values: readonly number[]) => {
          const [x, y] = [a.at(values), b.at(values)];
          return operation === 'plus' ? x + y : operation === 'minus' ? x - y : x * y;
        };
        return { dim, at };
      }),
  ),
})).pair;

const point = fc.tuple(...SYMBOLS.map(() => fc.integer({ min: 1, max: 9 })));

/** The number a dimension is where the symbols stand for these numbers. */
function evaluate(dim: Dim, values: readonly number[]): number {
  const known = SYMBOLS.reduce((rest, name, i) => rest.substitute(name, Dim.of(values[i] ?? 0)), dim);
  if (known.value === undefined) throw new Error(`${dim} has other symbols`);
  return known.value;
}

test('sums, differences and products are those of the numbers', () => {
  fc.assert(
    fc.property(pair, point, ({ dim, at }, values) => {
      expect(evaluate(dim, values)).toBe(at(values) + 0);
    }),
  );
});

test('what is equal is written the same way, however it was put together', () => {
  fc.assert(
    fc.property(pair, pair, pair, ({ dim: a }, { dim: b }, { dim: c }) => {
      expect(a.plus(b).equals(b.plus(a))).toBe(true);
      expect(a.times(b).equals(b.times(a))).toBe(true);
      expect(a.times(b.plus(c)).equals(a.times(b).plus(a.times(c)))).toBe(true);
      expect(a.minus(a).value).toBe(0);
      expect(a.plus(b).minus(b).equals(a)).toBe(true);
    }),
  );
});

test('equal dimensions are equal at every point, and different ones differ at some', () => {
  fc.assert(
    fc.property(pair, pair, point, ({ dim: a }, { dim: b }, values) => {
      if (a.equals(b)) expect(evaluate(a, values)).toBe(evaluate(b, values));
      expect(a.equals(b)).toBe(b.equals(a));
      expect(a.equals(b)).toBe(a.minus(b).value === 0);
    }),
  );
});

test('a quotient times the divisor is the dividend', () => {
  fc.assert(
    fc.property(pair, pair, ({ dim: a }, { dim: b }) => {
      const quotient = a.dividedBy(b);
      if (quotient) expect(quotient.times(b).equals(a)).toBe(true);
    }),
  );
});

test('what was multiplied with a single term divides by it', () => {
  const term = fc
    .tuple(fc.integer({ min: 1, max: 12 }), fc.array(fc.constantFrom(...SYMBOLS), { maxLength: 3 }))
    .map(([factor, names]) => Dim.product([Dim.of(factor), ...names.map((name) => Dim.symbol(name))]));
  fc.assert(
    fc.property(pair, term, ({ dim }, divisor) => {
      expect(dim.times(divisor).dividedBy(divisor)?.equals(dim)).toBe(true);
    }),
  );
});

describe('division', () => {
  const N = Dim.symbol('N');
  test.each([
    ['7 / 2', Dim.of(7), Dim.of(2), undefined],
    ['8 / 2', Dim.of(8), Dim.of(2), Dim.of(4)],
    ['0 / 4', Dim.of(0), Dim.of(4), Dim.of(0)],
    ['4 / 0', Dim.of(4), Dim.of(0), undefined],
    ['0 / 0', Dim.of(0), Dim.of(0), undefined],
    ['N / N', N, N, Dim.of(1)],
    ['N / 2', N, Dim.of(2), undefined],
    ['8 N / 4', N.times(Dim.of(8)), Dim.of(4), N.times(Dim.of(2))],
    ['(8 N + 4) / 4', N.times(Dim.of(8)).plus(Dim.of(4)), Dim.of(4), N.times(Dim.of(2)).plus(Dim.of(1))],
    ['(8 N + 2) / 4', N.times(Dim.of(8)).plus(Dim.of(2)), Dim.of(4), undefined],
    ['8 / N', Dim.of(8), N, undefined],
    ['(N + 1) / (N + 1)', N.plus(Dim.of(1)), N.plus(Dim.of(1)), Dim.of(1)],
  ])('%s', (_what, a, b, quotient) => {
    expect(a.dividedBy(b)?.toString()).toBe(quotient?.toString());
  });
});

test('a number is a number whatever it was made from', () => {
  const N = Dim.symbol('N');
  expect(N.minus(N).plus(Dim.of(3)).value).toBe(3);
  expect(Dim.of(0).times(N).value).toBe(0);
  expect(Dim.product([]).value).toBe(1);
  expect(N.value).toBeUndefined();
});

test('isSymbol is true of one symbol alone', () => {
  const [N, M] = [Dim.symbol('N'), Dim.symbol('M')];
  expect([N, Dim.unknown(), N.plus(Dim.of(0)), N.times(Dim.of(1))].map((dim) => dim.isSymbol)).toEqual([
    true,
    true,
    true,
    true,
  ]);
  expect([N.plus(M), N.times(M), N.times(Dim.of(2)), Dim.of(1), Dim.of(0)].some((dim) => dim.isSymbol)).toBe(
    false,
  );
});

test('two unknown dimensions are not the same', () => {
  expect(Dim.unknown().equals(Dim.unknown())).toBe(false);
});

// Exporters name dimensions by formulas.
test.each(['a*b', 'past_sequence + sequence', '2*N', 'floor(N/2)'])('a symbol may be called %s', (name) => {
  const dim = Dim.symbol(name);
  expect(dim.isSymbol).toBe(true);
  expect(dim.equals(Dim.symbol(name))).toBe(true);
  expect(dim.times(Dim.of(2)).dividedBy(dim)?.value).toBe(2);
  expect(dim.substitute(name, Dim.of(5)).value).toBe(name.includes('*') ? undefined : 5);
});

test('broadcasting takes the dimension that is not 1', () => {
  const N = Dim.symbol('N');
  const shape = (...dims: (number | Dim)[]) =>
    dims.map((dim) => (typeof dim === 'number' ? Dim.of(dim) : dim));
  const text = (dims: readonly Dim[]) => dims.join(', ');
  expect(text(broadcast(shape(N, 1, 3), shape(4, 1)))).toBe('N, 4, 3');
  expect(text(broadcast(shape(), shape(2, N)))).toBe('2, N');
  expect(text(broadcast(shape(N), shape(5)))).toBe('5');
  expect(text(broadcast(shape(1), shape(N)))).toBe('N');
  expect(text(broadcast(shape(1), shape(1)))).toBe('1');
});

test('an equation is solved for a symbol that stands alone and once', () => {
  const [a, b, c] = ['a', 'b', 'c'].map((name) => Dim.symbol(name)) as [Dim, Dim, Dim];
  expect(a.minus(b).minus(Dim.of(2)).solvedFor('a')?.toString()).toBe('b + 2');
  expect(Dim.of(7).minus(a).solvedFor('a')?.value).toBe(7);
  expect(a.times(b).minus(c).solvedFor('a')).toBeUndefined();
  expect(a.times(Dim.of(2)).minus(c).solvedFor('a')).toBeUndefined();
  expect(a.minus(b).solvedFor('c')).toBeUndefined();
});

test('what all terms have in common is taken out', () => {
  const [b, s] = ['b', 's'].map((name) => Dim.symbol(name)) as [Dim, Dim];
  const elements = b
    .times(s)
    .times(Dim.of(32))
    .minus(s.times(Dim.of(64)));
  expect(elements.withoutCommonFactor.solvedFor('b')?.value).toBe(2);
  expect(Dim.of(6).withoutCommonFactor.value).toBe(1);
});

test('a number where the sizes of all symbols are known', () => {
  const dim = Dim.symbol('p').plus(Dim.symbol('s').times(Dim.of(2)));
  expect(dim.names).toEqual(['p', 's']);
  expect(
    dim.evaluated(
      new Map([
        ['p', 6],
        ['s', 5],
      ]),
    ),
  ).toBe(16);
  expect(dim.evaluated(new Map([['p', 6]]))).toBeUndefined();
});
