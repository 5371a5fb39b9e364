/** SPEC section 6: the schedule min(1, step / warmupSteps). */
import { DiffxError, warmUpMix } from '../../src/index';

test.each([
  [0, 1000, 0],
  [1, 1000, 0.001],
  [250, 1000, 0.25],
  [999, 1000, 0.999],
  [1000, 1000, 1],
  [1001, 1000, 1],
  [1e12, 3, 1],
  [1, 3, 1 / 3],
])('step %d of %d: %d', (step, warmupSteps, mix) => {
  expect(warmUpMix(step, warmupSteps)).toBe(mix);
});

test.each([0, 1, 500])('without warm-up, step %d runs with 1', (step) => {
  expect(warmUpMix(step, 0)).toBe(1);
});

test.each([
  [-1, 10],
  [1, -10],
  [Number.NaN, 10],
  [1, Number.NaN],
])('step %d of %d is refused', (step, warmupSteps) => {
  expect(() => warmUpMix(step, warmupSteps)).toThrow(DiffxError);
});
