/** Tests that fixtures give what fixtures/coverage.json says, which docs/coverage.md is made of. */

import { measure } from './measure';
import { parseName } from './name';
import { type RecordedResult, readRecorded, recorded } from './recorded';
import { fixtures, type Source } from './sources';

const known = new Map(readRecorded().map((result) => [result.name, result]));

/** Everything that is measured of these fixtures. */
export function testMeasured(fits: (kind: string, model: string) => boolean): void {
  const sources = fixtures().filter(({ kind = '', name }) => fits(kind, parseName(name).model));
  test.each(sources)('$name', async (source) => {
    expect(recorded(await measure(source))).toEqual(known.get(source.name));
  });
}

/** What is rewritten of these fixtures; others test what the rewritten models compute. */
export function testRewritten(sources: readonly Source[]): void {
  test.each(sources)('$name', async (source) => {
    const { references, ...rest } = known.get(source.name) ?? ({} as Partial<RecordedResult>);
    expect(recorded(await measure({ ...source, runs: false }))).toEqual(rest);
  });
}
