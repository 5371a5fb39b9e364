import { doubleFeeds, halveOutputs } from '../../src/verify/key-caches';
import { floatTensor, numbersOf } from '../support/run';

const keys = [{ name: 'past', axis: 1, heads: 2 }];
// [B = 2, g = 2, T = 1, d = 2]
const past = floatTensor([2, 2, 1, 2], [1, 2, 3, 4, 5, 6, 7, 8]);
const other = floatTensor([1], [9]);

test.each([
  ['both', [1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7, 8]],
  ['positive', [1, 2, 3, 4, 8, 7, 6, 5, 5, 6, 7, 8, 4, 3, 2, 1]],
  ['negative', [8, 7, 6, 5, 1, 2, 3, 4, 4, 3, 2, 1, 5, 6, 7, 8]],
] as const)('the past goes to %s, positive heads first in each row of the batch', (component, expected) => {
  const feeds = doubleFeeds({ past, other }, keys, component);
  expect(feeds['past']?.shape).toEqual([2, 4, 1, 2]);
  expect(numbersOf(feeds['past'])).toEqual(expected);
  expect(feeds['other']).toBe(other);
});

test('an empty past stays empty', () => {
  const empty = floatTensor([2, 2, 0, 2], []);
  expect(doubleFeeds({ past: empty }, keys, 'positive')['past']).toMatchObject({ shape: [2, 4, 0, 2] });
});

test.each(['positive', 'negative'] as const)(
  'the %s half of what was doubled is what it was',
  (component) => {
    const doubled = doubleFeeds({ past }, keys, component);
    expect(halveOutputs(doubled, keys, component)['past']).toEqual(past);
  },
);
