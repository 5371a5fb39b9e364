import { firstThat } from '../../src/verify/first-that';

test.each([0, 1, 2, 3, 10, 64])('the first of %d is found, with few looks', async (count) => {
  for (let first = 0; first <= count; first++) {
    let looks = 0;
    const found = await firstThat(count, async (index) => {
      looks++;
      return index >= first;
    });
    expect(found).toBe(first === count ? -1 : first);
    expect(looks).toBeLessThanOrEqual(2 + Math.ceil(Math.log2(count + 1)));
  }
});
