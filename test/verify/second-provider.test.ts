/** The provider that the tests were asked to run on is there: otherwise they would prove nothing. */

import { isOf, parseProvider, whyUnavailable } from '../../src/verify/providers';
import { tryProvider } from '../../src/verify/providers/try';
import { describeSecondProvider } from '../support/second-provider';

describeSecondProvider('a node', (ep) => {
  test('runs', async () => {
    const spec = parseProvider(ep);
    expect(await whyUnavailable(spec)).toBeUndefined();
    expect(isOf(spec.provider, (await tryProvider(spec)).ranOn)).toBe(true);
  });
});
