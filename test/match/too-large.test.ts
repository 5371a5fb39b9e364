/** Thousands of softmaxes that share thousands of nodes: what is searched for all of them together has a limit. */
import { passes } from '../../passes';
import { findPrepared } from '../../src/rewrite/prepare';
import { ATTENTION, line, variant } from '../support/attention-text';
import { inWords } from '../support/found';
import { textModel } from '../support/models';

const SECONDS = 20_000;

function withSoftmaxes(count: number) {
  const softmaxes = Array.from(
    { length: count },
    (_, at) => `["s${at}"] s${at} = Softmax (r${at})\n r${at + 1} = Add (r${at}, s${at})`,
  );
  return textModel(
    variant(ATTENTION, [
      [
        '["q_proj"] q',
        `t = Transpose <perm = [0, 2, 1]> (x)\n r0 = MatMul (x, t)\n ${softmaxes.join('\n')}
         extra = MatMul (r${count}, x)\n ["q_proj"] q`,
      ],
      ['["o_proj"] y = MatMul (C_BSE,', 'both = Add (C_BSE, extra)\n ["o_proj"] y = MatMul (both,'],
    ]),
  );
}

test(
  'the attentions that are found before stay found; the others have a reason',
  () => {
    const found = findPrepared(withSoftmaxes(1500), passes);
    const codes = new Set(found.misses.map(({ reason }) => reason.code));
    expect(found.analysis.candidates).toHaveLength(1501);
    expect(found.misses.length + found.sites.length).toBe(1501);
    expect(codes).toContain('too-large');
  },
  SECONDS,
);

test('a few of them do not come near it', () => {
  const found = findPrepared(withSoftmaxes(10), passes);
  expect(inWords(found).sites).toEqual(['layers.0.attn: 2/2 x 4']);
  expect(found.misses.map(({ reason }) => reason.code)).not.toContain('too-large');
});

test(
  'a way of thousands of nodes from a projection to the scores takes one walk, not one for each of them',
  () => {
    const count = 20_000;
    const steps = Array.from(
      { length: count },
      (_, at) => `z${at + 1} = Mul (${at === 0 ? 'q' : `z${at}`}, scale)`,
    );
    const reshape = line('q_split');
    const model = textModel(
      variant(ATTENTION, [[reshape, `${steps.join('\n')}\n${reshape.replace('(q,', `(z${count},`)}`]]),
    );
    expect(findPrepared(model, passes).sites).toHaveLength(1);
  },
  3 * SECONDS,
);
