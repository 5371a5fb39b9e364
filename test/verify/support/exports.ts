/** Verification of every export that a rewrite accepts. */
import type { RewriteFileSettings } from '../../../src/api/rewrite';
import { verifyModels } from '../../../src/api/verify';
import { DiffxError } from '../../../src/errors';
import { exportNames } from '../../support/fixtures';
import { onSecondProvider } from '../../support/second-provider';
import { findingsOf, pairOf } from './pairs';

/** Why an export cannot be rewritten, as far as that is right. */
const REFUSALS = ['already-differential', 'odd-heads'];

/**
 * One test for each export.
 * @param fewest exports that must have been verified in the end
 */
export function testAllExports(settings: RewriteFileSettings, fewest: number): void {
  let verified = 0;

  test.each(exportNames())('%s passes', async (name) => {
    let pair: ReturnType<typeof pairOf>;
    try {
      pair = pairOf(name, settings);
    } catch (error) {
      if (error instanceof DiffxError && REFUSALS.includes(error.code)) return;
      throw error;
    }
    const report = await verifyModels(pair.original, pair.rewritten, { lengths: [5], ...onSecondProvider });
    // What no kernel exists for is the subject of elsewhere.test.ts.
    const numbers = report.checks.filter(({ name }) => name !== 'placement');
    expect(findingsOf({ ...report, checks: numbers })).toEqual([]);
    expect(numbers.every(({ passed }) => passed)).toBe(true);
    verified++;
  });

  test('enough of them were verified', () => {
    expect(verified).toBeGreaterThanOrEqual(fewest);
  });
}
