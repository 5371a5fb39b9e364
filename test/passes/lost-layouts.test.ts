/** Where nobody can tell which columns are which head, a side is copied as a whole, and heads are not split. */
import { rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { ATTENTION, line, variant } from '../support/attention-text';
import { randomFill } from '../support/fixtures';
import { inWords } from '../support/found';
import { modelPath, textBytes, thrownBy } from '../support/models';
import { secondFill } from '../support/reference';
import { expectClose, floatTensor, intTensor, runModel } from '../support/run';

const all = Array.from({ length: 8 }, (_, index) => index);
const weight = (name: string) => `layers.0.attn.${name}.weight`;
const x = floatTensor([2, 3, 8], randomFill(5)('x', 48));

const withOrder = (...lines: string[]) =>
  variant(ATTENTION, [
    ['(float[B, S, 8] x)', '(float[B, S, 8] x, int64[2] which)'],
    [line('q_heads'), ['["q_heads"] Q4 = Transpose <perm = [0, 2, 1, 3]> (q_BSHD)', ...lines].join('\n')],
  ]);

const texts: Record<string, string> = {
  'an order of heads that the run alone knows': withOrder('["pick"] Q = Gather <axis = 1> (Q4, which)'),
  'an order of heads that no projection has': withOrder(
    '["halves"] front, rest = Split <axis = 1> (Q4)',
    '["swap"] Q = Concat <axis = 1> (rest, front)',
  ),
};
/** Heads that talk to each other before the softmax and behind it. */
const talking = (before: string, behind: string, weights: string) =>
  variant(ATTENTION, [
    ['(float[B, S, 8] x)', '(float[B, S, 8] x, int64[2] which)'],
    ['  float scale', `  ${weights},\n  float scale`],
    [line('softmax'), `${before}\n  ["softmax"] P = Softmax <axis = -1> (mixed)\n  ${behind}`],
  ]);

Object.assign(texts, {
  'heads that talk before and behind the softmax': talking(
    'S_ = Transpose <perm = [0, 2, 3, 1]> (S)\n  M_ = MatMul (S_, talk)\n  mixed = Transpose <perm = [0, 3, 1, 2]> (M_)',
    'A = Einsum <equation = "bhqk,hg->bgqk"> (P, talk)',
    'float[2, 2] talk = {...}',
  ),
  'heads that talk in a convolution': talking(
    'mixed = Conv (S, filter)',
    'A = Identity (P)',
    'float[2, 2, 1, 1] filter = {...}',
  ),
});
const feeds = { x, which: intTensor([2], [1, 0]) };

describe.each(Object.entries(texts))('%s', (_, text) => {
  test('duplicate heads: found, kept where the options keep it, and right with weights of its own', async () => {
    const path = modelPath(textBytes(text));
    const kept = rewriteModel(path, { init: 'preserve' });
    expect(inWords(kept.found)).toEqual({ sites: ['layers.0.attn: 2/2 x 4'], misses: [] });
    const original = await runModel(path, feeds);
    expectClose(await runModel(rewrittenBytes(kept).read(), feeds), original, 1e-6);

    // With a head count of 2, lambda and no norm: y1 - lambda y2, and the output projection is linear.
    const mixed = rewriteModel(path, { sublayerNorm: false, mixInput: true, seed: 3 });
    const at = async (mix: number) =>
      runModel(rewrittenBytes(mixed).read(), { ...feeds, diff_attn_mix: floatTensor([], [mix]) });
    const sides = {
      query: { weight: weight('q_proj'), columns: 8, order: all },
      key: { weight: weight('k_proj'), columns: 8, order: all },
    };
    const negative = await runModel(textBytes(text, secondFill(sides, mixed.model, 8)), feeds);
    const [zero, one, two] = [await at(0), await at(1), await at(2)];
    expectClose(zero, original, 1e-6);
    const y = (tensors: typeof zero) => Array.from(tensors['y']?.data as Float32Array);
    const slope = y(one).map((value, index) => (y(zero)[index] ?? 0) - value);
    const lambda = (slope[0] ?? 0) / (y(negative)[0] ?? 1);
    expect(Math.abs(lambda)).toBeGreaterThan(0.01);
    slope.forEach((value, index) => {
      expect(value).toBeCloseTo(lambda * (y(negative)[index] ?? 0), 5);
    });
    y(two).forEach((value, index) => {
      expect(value).toBeCloseTo((y(zero)[index] ?? 0) - 2 * (slope[index] ?? 0), 5);
    });
  });

  test('split heads: refused, with the operator that lost them', () => {
    const error = thrownBy(() => rewriteModel(modelPath(textBytes(text)), { splitHeads: true }));
    expect(error).toMatchObject({ code: 'unrewritten', exitCode: 3 });
    expect(error.message).toMatch(/layout-lost|columns-mixed/);
  });
});
