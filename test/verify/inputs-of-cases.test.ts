/** Models whose inputs once got the wrong numbers or sizes: each is rewritten and verified. */
import * as path from 'node:path';
import { rewriteModel, writeRewritten } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { FIXTURES, temporaryFolder } from '../support/fixtures';
import { findingsOf } from './support/pairs';

const CASES: readonly (readonly [string, readonly string[]])[] = [
  // The mask is called `a`: fed ids, it gave nothing but NaN.
  ['canine-dyn', ['batch 3, length 32', 'batch 3, length 32, left padding']],
  // Lengths of 5 and 7 are baked in, and true hides a key.
  ['tdec-ts', ['batch 3, length 5', 'batch 3, length 5, right padding']],
  // How many keys there are is no index into a table of 32.
  ['nonpad_kv_seqlen', ['batch 2, length 1', 'batch 2, length 1, right padding']],
];

test.each(CASES)('%s is verified', async (name, cases) => {
  const original = path.join(FIXTURES, 'cases', `${name}.onnx`);
  const rewritten = path.join(temporaryFolder(), `${name}.diff.onnx`);
  writeRewritten(rewriteModel(original, { init: 'preserve' }), rewritten, true);
  const report = await verifyModels(original, rewritten);
  expect(findingsOf(report)).toEqual([]);
  expect(report.passed).toBe(true);
  expect(report.cases).toEqual(expect.arrayContaining([...cases]));
});
