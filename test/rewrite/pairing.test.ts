/** Pairs of heads as lists of indices, against the pairs of the float64 reference. */
import type { Pairing } from '../../src/attention/presets';
import { negativeHeads, partnerOf, positiveHeads, valueHeads } from '../../src/rewrite/pairing';
import {
  array64,
  copiesInPairs,
  crossProducts,
  pairMaps,
  pairValues,
  repeatHeads,
  storedHeads,
} from '../../src/verify/reference';

const pairings: readonly Pairing[] = ['halves', 'adjacent'];
const sizes = [
  [2, 2],
  [4, 2],
  [4, 4],
  [6, 2],
  [8, 4],
  [12, 4],
] as const;
const cases = pairings.flatMap((pairing) => sizes.map(([h, g]) => ({ pairing, h, g })));

/** Heads that hold their own number. */
const numbered = (count: number) =>
  array64(
    [1, count, 1, 1],
    Array.from({ length: count }, (_, head) => head),
  );

describe.each(cases)('$pairing, $h heads with $g key heads', ({ pairing, h, g }) => {
  test('positive and negative heads', () => {
    const [positive, negative] = pairMaps(numbered(h), pairing);
    expect(positiveHeads(pairing, h)).toEqual([...positive.data]);
    expect(negativeHeads(pairing, h)).toEqual([...negative.data]);
    for (const head of positive.data) {
      const partner = partnerOf(pairing, h, head);
      expect([...negative.data]).toContain(partner);
      expect(partnerOf(pairing, h, partner)).toBe(head);
    }
  });

  test('stored value heads of each pair', () => {
    const { left, right } = valueHeads(pairing, h, g);
    const { data } = pairValues(numbered(g), h, pairing);
    expect(left).toEqual([...data].filter((_, at) => at % 2 === 0));
    expect(right).toEqual([...data].filter((_, at) => at % 2 === 1));
  });

  test('the products with the values of a partner come together', () => {
    // Each query head gives the number of the value head that it was multiplied with.
    const own = repeatHeads(numbered(g), h);
    const exchanged = { ...own, data: own.data.map((head) => partnerOf(pairing, g, head)) };
    const { Y1_BHSD, Y2_BHSD } = crossProducts(own, exchanged, g, pairing);
    expect(Y1_BHSD).toEqual(pairValues(numbered(g), h, pairing));
    expect(Y2_BHSD).toEqual(Y1_BHSD);
  });
});

test('pairs of copies are pairs of what they are copies of', () => {
  for (const [h, g] of sizes) {
    const pairs = pairValues(copiesInPairs(repeatHeads(numbered(g), h), g), h, 'adjacent');
    expect(pairs).toEqual(pairValues(numbered(g), h, 'adjacent'));
  }
  // Two heads, two copies of each: 0 and 2, then 1 and 3.
  expect([...pairValues(copiesInPairs(numbered(4), 2), 4, 'adjacent').data]).toEqual([0, 2, 1, 3]);
});

test('heads that stand repeated are seen once; heads that differ inside a group stay', () => {
  expect(storedHeads(repeatHeads(numbered(2), 6), 2)).toEqual(numbered(2));
  expect(storedHeads(numbered(4), 2)).toEqual(numbered(4));
  expect(storedHeads(numbered(2), 2)).toEqual(numbered(2));
});
