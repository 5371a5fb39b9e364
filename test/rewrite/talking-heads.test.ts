/** Preset v2 has a lambda for each head: whatever combines heads or holds a number for each of them gives a right model. */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { ATTENTION, line, variant } from '../support/attention-text';
import { randomFill } from '../support/fixtures';
import { modelPath, textBytes, thrownBy } from '../support/models';
import { expectClose, floatTensor, runModel } from '../support/run';
import { Draft, int } from '../verify/support/draft';
import { failedChecks, findingsOf, pairOfModel } from '../verify/support/pairs';

/** Four heads of width 2. */
const four = variant(ATTENTION, [['split = {0, 0, 2, 4}', 'split = {0, 0, 4, 2}']]);

const withScores = (constants: string, before: string, behind = 'A = Identity (P)', text = four) =>
  variant(text, [
    ['  float scale', `  ${constants},\n  float scale`],
    [line('softmax', text), `${before}\n["softmax"] P = Softmax <axis = -1> (changed)\n${behind}`],
  ]);

const texts: Record<string, string> = {
  'heads combined before the softmax, on the last axis': withScores(
    'float[4, 4] talk = {...}',
    'S_ = Transpose <perm = [0, 2, 3, 1]> (S)\nM_ = MatMul (S_, talk)\nchanged = Transpose <perm = [0, 3, 1, 2]> (M_)',
  ),
  'heads combined behind the softmax': withScores(
    'float[4, 4] talk = {...}',
    'changed = Identity (S)',
    'A = Einsum <equation = "bhqk,hg->bgqk"> (P, talk)',
  ),
  'heads combined before and behind': withScores(
    'float[4, 4] talk = {...}, float[4, 4] back = {...}',
    'changed = Einsum <equation = "bhqk,hg->bgqk"> (S, talk)',
    'A = Einsum <equation = "bhqk,hg->bgqk"> (P, back)',
  ),
  'heads combined by a convolution': withScores(
    'float[4, 4, 1, 1] filter = {...}',
    'changed = Conv (S, filter)',
  ),
  'a scale for each head': withScores('float[4, 1, 1] scales = {...}', 'changed = Mul (S, scales)'),
  'a bias for each head': withScores('float[1, 4, 1, 1] slopes = {...}', 'changed = Add (S, slopes)'),
  'a sink for each head': withScores(
    'float[1, 4, 1, 1] sinks = {...}, int64[1] last = {-1}, int64[1] none = {0}, int64[1] three = {3}, int64[2] sizes = {1, 1}',
    'shape = Shape (S)\nfront = Slice (shape, none, three, none)\nend = Unsqueeze (one, none)\nwide = Concat <axis = 0> (front, end)\nE = Expand (sinks, wide)\nchanged = Concat <axis = -1> (S, E)',
    'A = Slice (P, none, last, three)',
  ).replace('int64[2] sizes = {1, 1}', 'int64 one = {1}'),
  'a scale of the values for each head': withScores(
    'float[4, 1, 1] gates = {...}',
    'changed = Identity (S)',
    'A = Mul (P, gates)',
  ),
};

const modes: readonly RewriteFileSettings[] = [
  { preset: 'v2' },
  { preset: 'v2', emit: 'inline', mixInput: true },
  { preset: 'v2', init: 'preserve' },
];
const x = floatTensor([2, 3, 8], randomFill(5)('x', 48));

describe.each(Object.entries(texts))('%s', (_, text) => {
  const original = modelPath(textBytes(text));

  test('verified', async () => {
    for (const mode of modes) {
      const { rewritten } = pairOfModel(original, mode);
      expect(findingsOf(await verifyModels(original, rewritten))).toEqual([]);
    }
  });

  test('preserve gives what the original gives', async () => {
    const kept = rewriteModel(original, { preset: 'v2', init: 'preserve' });
    expectClose(await runModel(rewrittenBytes(kept).read(), { x }), await runModel(original, { x }), 1e-5);
  });
});

test('another number of maps than of heads: a reason, and duplicate heads are right', async () => {
  const text = variant(
    withScores(
      'float[4, 8] talk = {...}, int64[4] more = {0, 0, 8, 2}',
      'changed = Einsum <equation = "bhqk,hg->bgqk"> (S, talk)',
    ),
    [
      ['float[8, 8] "layers.0.attn.v_proj.weight"', 'float[8, 16] "layers.0.attn.v_proj.weight"'],
      ['float[8, 8] "layers.0.attn.o_proj.weight"', 'float[16, 8] "layers.0.attn.o_proj.weight"'],
      ['Reshape (v, split)', 'Reshape (v, more)'],
      ['merged = {0, 0, 8}', 'merged = {0, 0, 16}'],
    ],
  );
  const original = modelPath(textBytes(text));
  const error = thrownBy(() => rewriteModel(original, { preset: 'v2' }));
  expect(error.exitCode).toBe(3);
  expect(error.message).toContain('columns-mixed: wanted 4 maps, a lambda for each of them, found 8');
  const { rewritten } = pairOfModel(original, { init: 'preserve' });
  expect(findingsOf(await verifyModels(original, rewritten))).toEqual([]);
});

test('a lambda that went to another one of the maps is caught', async () => {
  const original = modelPath(textBytes(texts['heads combined before and behind'] ?? ''));
  const { rewritten } = pairOfModel(original, { preset: 'v2' });
  const draft = new Draft(rewritten);
  const [logits = ''] = draft.nodes
    .flatMap(({ output }) => output.filter((name) => name.includes('lambda_proj')).slice(-1))
    .slice(-1);
  const reader = draft.reader(logits);
  const turned = draft.insertBefore(
    reader,
    'Gather',
    [logits, draft.addInts([1, 0, 2, 3])],
    [int('axis', 1)],
  );
  reader.input = reader.input.map((name) => (name === logits ? turned : name));
  expect(failedChecks(await verifyModels(original, draft.write()))).toContain('layers');
});
