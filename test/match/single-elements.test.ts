/** Axes of one element say nothing by their size: found by random attention graphs. */
import { rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { projectedSides } from '../../src/attention/site';
import { ATTENTION, line, variant } from '../support/attention-text';
import { randomFill } from '../support/fixtures';
import { modelPath, textBytes } from '../support/models';
import { expectClose, floatTensor, runModel } from '../support/run';

const fixed = [
  '(float[B, S, 8] x) => (float[B, S, 8] y)',
  '(float[1, 1, 8] x) => (float[1, 1, 8] y)',
] as const;
const feeds = { x: floatTensor([1, 1, 8], randomFill(5)('x', 8)) };

test('keys stand first in the product, and a sink behind the scores of a single key', () => {
  const text = variant(ATTENTION, [
    fixed,
    ['Transpose <perm = [0, 2, 1, 3]> (q_BSHD)', 'Transpose <perm = [0, 2, 3, 1]> (q_BSHD)'],
    ['Transpose <perm = [0, 2, 3, 1]> (k_BSHD)', 'Transpose <perm = [0, 2, 1, 3]> (k_BSHD)'],
    [
      line('scores'),
      '["scores"] raw_T = MatMul (K, Q)\n["turned"] raw = Transpose <perm = [0, 1, 3, 2]> (raw_T)',
    ],
    [
      line('softmax'),
      `["with_sink"] both = Concat <axis = -1> (S, sink)
       ["softmax"] all = Softmax <axis = -1> (both)
       ["without_sink"] A = Slice (all, first, last, axis)`,
    ],
    [
      '  float scale',
      '  float[1, 2, 1, 1] sink = {...}, int64[1] first = {0}, int64[1] last = {-1}, int64[1] axis = {3},\n  float scale',
    ],
  ]);
  const [site] = rewriteModel(modelPath(textBytes(text))).found.sites;
  const [query, key] = site ? projectedSides(site) : [];
  expect([query?.projection.node.name, key?.projection.node.name]).toEqual(['q_proj', 'k_proj']);
});

test('lambda of one token and one head', async () => {
  const text = `<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
    g (float[1, 1, 8] x) => (float[1, 1, 8] y) <
      float[8, 24] "layers.0.attn.qkv.weight" = {...}, float[24] "layers.0.attn.qkv.bias" = {...}
    > { y = com.microsoft.Attention <num_heads = 1> (x, "layers.0.attn.qkv.weight", "layers.0.attn.qkv.bias") }`;
  const path = modelPath(textBytes(text));
  const rewritten = rewrittenBytes(rewriteModel(path, { preset: 'v2', init: 'preserve' })).read();
  expectClose(await runModel(rewritten, feeds), await runModel(path, feeds), 1e-5);
});
