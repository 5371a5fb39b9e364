/** Views are strided arrays over columns: regrouping and slicing them does what reshaping and slicing arrays does. */

import { type Atom, axisSize, Dim, regroup } from '../../src/analyse';
import { sliceAxis } from '../../src/analyse/view';
import fc from '../support/properties';

const column = (size: number, stride: number): Atom => ({ kind: 'column', size: Dim.of(size), stride });
const lead = (size: Dim, ...order: number[]): Atom => ({ kind: 'lead', size, order });

/** The columns along an axis, in order. */
function columnsOf(axis: readonly Atom[], offset = 0): number[] {
  return axis.reduce<number[]>(
    (columns, atom) => {
      const size = atom.size.value;
      const stride = atom.kind === 'column' ? atom.stride : 0;
      if (size === undefined || stride === undefined) throw new Error('not numbers');
      return columns.flatMap((at) => Array.from({ length: size }, (_, i) => at + i * stride));
    },
    [offset],
  );
}

/** Atoms as a permuted array of columns gives them: strides of a row-major array in another order. */
const atoms: fc.Arbitrary<Atom[]> = fc
  .array(fc.integer({ min: 2, max: 5 }), { minLength: 1, maxLength: 3 })
  .chain((sizes) => {
    let stride = 1;
    const strided = [...sizes].reverse().map((size) => {
      const atom = column(size, stride);
      stride *= size;
      return atom;
    });
    return fc.shuffledSubarray(strided, { minLength: strided.length });
  });

/** Ways to write a number as a product, ones included. */
function factorings(total: number): fc.Arbitrary<number[]> {
  const divisors = Array.from({ length: total }, (_, i) => i + 1).filter((d) => total % d === 0);
  return fc
    .constantFrom(...divisors)
    .chain((first) =>
      first === total
        ? fc.constantFrom([total], [1, total], [total, 1])
        : factorings(total / first).map((rest) => [first, ...rest]),
    );
}

const sizeOf = (axis: readonly Atom[]) => axisSize(axis).value ?? Number.NaN;

test('regrouping keeps the order of the columns, and gives the sizes that were asked for', () => {
  fc.assert(
    fc.property(
      atoms.chain((given) => fc.tuple(fc.constant(given), factorings(sizeOf(given)))),
      ([given, sizes]) => {
        const axes = regroup(
          given,
          sizes.map((size) => Dim.of(size)),
        );
        if (!axes) return; // strides that do not divide: nothing is claimed
        expect(axes.map(sizeOf)).toEqual(sizes);
        expect(columnsOf(axes.flat())).toEqual(columnsOf(given));
      },
    ),
    { numRuns: 500 },
  );
});

test('a single run of columns regroups into any sizes that divide it', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 96 }).chain((size) => fc.tuple(fc.constant(size), factorings(size))),
      ([size, sizes]) => {
        const axes = regroup(
          [column(size, 1)],
          sizes.map((each) => Dim.of(each)),
        );
        expect(axes && columnsOf(axes.flat())).toEqual(columnsOf([column(size, 1)]));
      },
    ),
  );
});

test('one size that is not known gets what the others leave', () => {
  const [B, S] = [Dim.symbol('B'), Dim.symbol('S')];
  const given = [lead(B, 0), lead(S, 1), column(32, 1)];
  const axes = regroup(given, [B, Dim.unknown(), Dim.of(4), Dim.of(8)]);
  expect(axes?.map((axis) => axisSize(axis).toString())).toEqual(['B', 'S', '4', '8']);
  expect(axes?.[2]).toEqual([column(4, 8)]);
});

test('sizes that do not divide are refused', () => {
  expect(regroup([column(12, 1)], [Dim.of(5), Dim.of(2)])).toBeUndefined();
  expect(regroup([column(12, 1)], [Dim.of(4), Dim.of(4)])).toBeUndefined();
  expect(regroup([column(12, 1)], [Dim.of(4), Dim.of(2)])).toBeUndefined();
  expect(
    regroup([lead(Dim.symbol('S'), 0), column(8, 1)], [Dim.of(8), Dim.of(3), Dim.of(2)]),
  ).toBeUndefined();
});

test('leading axes that are divided remember which part is outer', () => {
  const axes = regroup([lead(Dim.of(6), 1)], [Dim.of(2), Dim.of(3)]);
  expect(axes).toEqual([[lead(Dim.of(2), 1, 0)], [lead(Dim.of(3), 1, 1)]]);
});

test('slicing an axis takes the columns that slicing an array takes', () => {
  fc.assert(
    fc.property(
      atoms,
      fc.nat({ max: 130 }),
      fc.integer({ min: 1, max: 130 }),
      fc.integer({ min: 1, max: 4 }),
      (axis, from, count, step) => {
        const all = columnsOf(axis);
        const start = from % all.length;
        const length = Math.min(count, Math.floor((all.length - 1 - start) / step) + 1);
        const cut = sliceAxis(axis, start, length, step);
        const wanted = all
          .slice(start)
          .filter((_, i) => i % step === 0)
          .slice(0, length);
        if (cut) expect(columnsOf(cut.axis, cut.offset)).toEqual(wanted);
        // a contiguous piece of one run is always known
        if (axis.length === 1) expect(cut).toBeDefined();
      },
    ),
    { numRuns: 1000 },
  );
});

test('a piece of one block is not known where the blocks are combined', () => {
  const mixed: Atom = { kind: 'column', size: Dim.of(3), stride: undefined };
  expect(sliceAxis([mixed, column(8, 1)], 8, 1, 1)).toBeUndefined();
  expect(sliceAxis([column(3, 8), column(8, 1)], 8, 1, 1)).toEqual({ axis: [], offset: 8 });
});
