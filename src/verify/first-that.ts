/**
 * The first of a number of things that differs, found by halving: what flows on from something that differs, differs.
 * @returns its index, or -1 where not even the last one differs
 */
export async function firstThat(
  count: number,
  differs: (index: number) => Promise<boolean>,
): Promise<number> {
  if (count === 0 || !(await differs(count - 1))) return -1;
  let [agrees, found] = [-1, count - 1];
  while (found - agrees > 1) {
    const middle = (agrees + found) >> 1;
    if (await differs(middle)) found = middle;
    else agrees = middle;
  }
  return found;
}
