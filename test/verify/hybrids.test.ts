/** Attention beside layers that are none: convolutions with a state, recurrences, linear attention. */
import { verifyModels } from '../../src/api/verify';
import { ATTENTION, variant } from '../support/attention-text';
import { modelPath, textBytes } from '../support/models';
import { findingsOf, pairOfModel } from './support/pairs';

/** What stands before the attention, from `x` to `x1`, and after it, from `y0` to `y`. */
function hybrid(before: string, after: string, more = ''): string {
  const text = variant(ATTENTION, [
    ['float scale = {0.5}', `float scale = {0.5}, ${more} int64[1] last = {-1}`],
    ['  ["q_proj"]', `${before}\n  ["q_proj"]`],
    [
      'y = MatMul (C_BSE, "layers.0.attn.o_proj.weight")',
      `y0 = MatMul (C_BSE, "layers.0.attn.o_proj.weight")\n${after}`,
    ],
  ]);
  return text.replaceAll(/(_proj"\] [qkv]) = MatMul \(x,/g, '$1 = MatMul (x1,');
}

const NOTHING = '  y = Identity (y0)';

/** Causal linear attention: phi(q) times the running sums of phi(k) v, over those of phi(k). */
const linear = (x: string, y: string) => `
  lq0 = MatMul (${x}, "lin.q.weight")
  lk0 = MatMul (${x}, "lin.k.weight")
  lv = MatMul (${x}, "lin.v.weight")
  lq = Exp (lq0)
  lk = Exp (lk0)
  lk4 = Unsqueeze (lk, last)
  third = Constant <value = int64[1] {2}> ()
  lv4 = Unsqueeze (lv, third)
  outer = Mul (lk4, lv4)
  one = Constant <value = int64 {1}> ()
  sums = CumSum (outer, one)
  lq4 = Unsqueeze (lq, third)
  top4 = MatMul (lq4, sums)
  top = Squeeze (top4, third)
  ksums = CumSum (lk, one)
  below0 = Mul (lq, ksums)
  below = ReduceSum (below0, last)
  lin = Div (top, below)
  ${y} = Add (lin, ${x})`;

const LINEAR_WEIGHTS =
  'float[8, 8] "lin.q.weight" = {...}, float[8, 8] "lin.k.weight" = {...}, float[8, 8] "lin.v.weight" = {...},';

/** h = decay h + x for each token: a state-space layer as a Scan. */
const scan = (x: string, y: string) => `
  turned = Transpose <perm = [1, 0, 2]> (${x})
  start0 = ReduceSum <keepdims = 0> (${x}, seq_axis)
  nil = Constant <value = float {0}> ()
  start = Mul (start0, nil)
  state, states = Scan <num_scan_inputs = 1, body = step (float[B, 8] h, float[B, 8] u) => (float[B, 8] h1, float[B, 8] out) {
    kept = Mul (h, decay)
    h1 = Add (kept, u)
    out = Tanh (h1)
  }> (start, turned)
  back0 = Transpose <perm = [1, 0, 2]> (states)
  back = Reshape (back0, merged)
  ${y} = Add (back, ${x})`;

const SCAN_WEIGHTS = 'float[8] decay = {...}, int64[1] seq_axis = {1},';

const convolution = (x: string, y: string) => `
  channels = Transpose <perm = [0, 2, 1]> (${x})
  mixed = Conv <group = 8, kernel_shape = [3], pads = [2, 0]> (channels, "conv.weight")
  gated = Sigmoid (mixed)
  product = Mul (gated, channels)
  tokens = Transpose <perm = [0, 2, 1]> (product)
  ${y} = Add (tokens, ${x})`;

const CONV_WEIGHTS = 'float[8, 1, 3] "conv.weight" = {...},';

const hybrids: Record<string, string> = {
  'linear attention before': hybrid(linear('x', 'x1'), NOTHING, LINEAR_WEIGHTS),
  'linear attention after': hybrid('  x1 = Identity (x)', linear('y0', 'y'), LINEAR_WEIGHTS),
  'linear attention with the same keys': hybrid(
    '  x1 = Identity (x)',
    linear('y0', 'y'),
    LINEAR_WEIGHTS,
  ).replace('lk0 = MatMul (y0, "lin.k.weight")', 'lk0 = MatMul (y0, "layers.0.attn.k_proj.weight")'),
  'linear attention of the same projections': hybrid(
    '  x1 = Identity (x)',
    linear('y0', 'y')
      .replace('lk0 = MatMul (y0, "lin.k.weight")', 'lk0 = Identity (k)')
      .replace('lq0 = MatMul (y0, "lin.q.weight")', 'lq0 = Identity (q)'),
    LINEAR_WEIGHTS,
  ),
  'a recurrence before': hybrid(scan('x', 'x1'), NOTHING, SCAN_WEIGHTS),
  'a recurrence after': hybrid('  x1 = Identity (x)', scan('y0', 'y'), SCAN_WEIGHTS),
  'a recurrence over the keys': hybrid(
    '  x1 = Identity (x)',
    scan('y0', 'y').replace(
      'turned = Transpose <perm = [1, 0, 2]> (y0)',
      'turned = Transpose <perm = [1, 0, 2]> (k)',
    ),
    SCAN_WEIGHTS,
  ),
  'a convolution before': hybrid(convolution('x', 'x1'), NOTHING, CONV_WEIGHTS),
  'a convolution after': hybrid('  x1 = Identity (x)', convolution('y0', 'y'), CONV_WEIGHTS),
};

/** What few inputs show, more show as well. */
const FEW = { lengths: [5] };

describe.each(Object.entries(hybrids))('%s', (_, text) => {
  const original = modelPath(textBytes(text, 7));

  test.each([[{ init: 'preserve' }], [{ splitHeads: true }], [{ preset: 'v2' }]] as const)(
    '%j',
    async (settings) => {
      const { rewritten } = pairOfModel(original, settings);
      expect(findingsOf(await verifyModels(original, rewritten, FEW))).toEqual([]);
    },
  );
});
