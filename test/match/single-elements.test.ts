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

describe('the cache of a single key head, beside other axes of one element', () => {
  /** Keys as `[batch, rows, 1, 8]` or `[batch, 1, rows, 8]`, behind `past` cached ones. */
  const text = (batch: number, past: number, rows: 'first' | 'second') => {
    const shape = (count: number) => (rows === 'first' ? [batch, count, 1, 8] : [batch, 1, count, 8]);
    const axis = rows === 'first' ? 1 : 2;
    const turn = rows === 'first' ? '[0, 2, 3, 1]' : '[0, 1, 3, 2]';
    return variant(ATTENTION, [
      [
        '(float[B, S, 8] x) => (float[B, S, 8] y)',
        `(float[${batch}, 1, 8] x, float[${shape(past)}] old) => (float[${batch}, 1, 8] y, float[${shape(past + 1)}] k_all)`,
      ],
      ['split = {0, 0, 2, 4}', `split = {0, 0, 1, 8}, int64[4] cached = {${shape(1)}}`],
      [line('k_split'), '["k_split"] k_new = Reshape (k, cached)'],
      [
        line('k_heads'),
        `["k_join"] k_all = Concat <axis = ${axis}> (old, k_new)\n["k_heads"] K = Transpose <perm = ${turn}> (k_all)`,
      ],
      [line('attended'), `["wide"] V_all = Expand (V, like)\n["attended"] C = MatMul (A, V_all)`],
      ['  float scale', `  int64[4] like = {1, 1, ${past + 1}, 1},\n  float scale`],
    ]);
  };

  test.each([
    [1, 3, 'first', 2],
    [2, 1, 'first', 2],
    [1, 1, 'second', 1],
    [2, 3, 'second', 1],
  ] as const)('batch %i, %i cached rows on the %s axis: heads on axis %i', (batch, past, rows, axis) => {
    const { layers } = rewriteModel(modelPath(textBytes(text(batch, past, rows))), { sublayerNorm: false });
    expect(layers[0]?.caches.map(({ name, axis: at }) => [name, at])).toEqual([
      ['old', axis],
      ['k_all', axis],
    ]);
  });
});
