/** The longest sequence that a model may take, read off its tables of positions. */

import { verifyModels } from '../../src/api/verify';
import { load } from '../../src/ir';
import { readModel } from '../../src/onnx';
import { inputRoles } from '../../src/verify/input-roles';
import { longestLengths } from '../../src/verify/longest';
import { withSession } from '../../src/verify/session';
import { openExport } from '../support/fixtures';
import { pairOf } from './support/pairs';

async function longestOf(name: string): Promise<number[]> {
  const file = openExport(name).model;
  const model = load(readModel(file));
  return withSession(file, {}, async ({ inputs }) => longestLengths(model, inputRoles(model, inputs)));
}

test.each([
  ['gpt2-dec-dy18-eager', 64],
  ['bert-enc-dy18-eager', 64],
])('%s takes at most %d tokens', async (name, most) => {
  expect((await longestOf(name))[0]).toBe(most);
});

test('a model without such a table has none', async () => {
  expect(await longestOf('llama-dec-dy18-eager')).toEqual([]);
});

test('it is tried, unless lengths are given', async () => {
  const { original, rewritten } = pairOf('gpt2-dec-dy18-eager');
  const { cases, passed } = await verifyModels(original, rewritten, { batches: [1] });
  expect(cases).toContain('batch 1, length 64');
  expect(passed).toBe(true);
});
