/** What inputs are for is read off the graph where it shows. */
import { load } from '../../src/ir';
import { readModel } from '../../src/onnx';
import { DataType } from '../../src/onnx/data-types';
import type { FeedInput } from '../../src/verify/feeds';
import { inputRoles } from '../../src/verify/input-roles';
import { withSession } from '../../src/verify/session';
import { openExport } from '../support/fixtures';
import { textModel } from '../support/models';

async function rolesOf(name: string): Promise<Record<string, FeedInput['role']>> {
  const { model } = openExport(name);
  return withSession(model, { threads: 1 }, async ({ inputs }) => {
    const roles = inputRoles(load(readModel(model)), inputs);
    return Object.fromEntries(roles.map(({ name: input, role }) => [input, role]));
  });
}

test.each(['bert-enc-ts14-eager', 'bert-enc-dy18-sdpa', 'bert-enc-ts14-eager+int8'])(
  '%s: the vocabulary is the size of the embedding',
  async (name) => {
    const roles = await rolesOf(name);
    expect(roles['input_ids']).toEqual({ kind: 'ids', vocabulary: 96 });
    expect(roles['attention_mask']).toEqual({ kind: 'mask' });
  },
);

test('a mask stays a mask where it is an index as well', async () => {
  // OPT counts positions from its mask.
  expect((await rolesOf('opt-dec-ts14-eager'))['attention_mask']?.kind).toBe('mask');
});

test('images are data', async () => {
  expect((await rolesOf('dinov2-vis-dy23-sdpa'))['pixel_values']).toEqual({ kind: 'data' });
});

const description = (name: string) => ({ name, dtype: DataType.INT64, shape: ['B', 'S'] });

test('of several tables the smallest counts, also behind layout and casts', () => {
  const model = textModel(`<ir_version: 8, opset_import: ["" : 17]>
    g (int64[B, S] x) => (float[N, 2] y, float[B, S, 2] z) <
      float[50, 2] large = {...}, float[7, 2] small = {...}, int64[1] flat = {-1}
    > {
      ids = Cast <to = 6> (x)
      row = Reshape (ids, flat)
      y = Gather (small, row)
      z = Gather (large, x)
    }`);
  expect(inputRoles(model, [description('x')])).toEqual([
    { ...description('x'), role: { kind: 'ids', vocabulary: 7 } },
  ]);
});

test('an input that indexes no table is guessed by its name', () => {
  const model = textModel(`<ir_version: 8, opset_import: ["" : 17]>
    g (int64[B, S] position_ids) => (int64[B, S] y) { y = Neg (position_ids) }`);
  expect(inputRoles(model, [description('position_ids')])[0]?.role).toEqual({ kind: 'positions' });
});
