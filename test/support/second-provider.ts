/**
 * The execution provider that DIFFX_TEST_EP names: the tests of verification run on it too. With `cuda` that is what
 * `npm run test:cuda` does; a software driver for `webgpu` is set up by test/webgpu/software-driver.sh.
 */
import type { VerifySettings } from '../../src/verify/verify';

export const SECOND_EP: string | undefined = process.env['DIFFX_TEST_EP'] || undefined;

/** For `verifyModels`. */
export const onSecondProvider: VerifySettings = SECOND_EP === undefined ? {} : { ep: SECOND_EP };

/** Tests that need it; the title says why they are skipped. */
export function describeSecondProvider(title: string, tests: (ep: string) => void): void {
  if (SECOND_EP === undefined)
    describe.skip(`${title} (skipped: DIFFX_TEST_EP names no execution provider)`, () => tests('cpu'));
  else describe(`${title} on ${SECOND_EP}`, () => tests(SECOND_EP));
}
