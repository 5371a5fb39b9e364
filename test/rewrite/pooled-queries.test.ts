/** Queries that are put together out of several tokens (Hiera): lambda of each token has nowhere to go. */
import { rewriteText, thrownBy } from '../support/models';
import { attentionText } from '../verify/support/attention-text';

/** Pairs of queries become the larger of the two, as whole ones. */
const pooled = attentionText({
  constants: ', int64[5] pairs = {0, 2, -1, 2, 4}, int64[1] three = {3}',
  first: 'float[B, 6, 8] a0',
}).replace(
  's0 = MatMul (qt, kT)',
  'apart = Reshape (qt, pairs) best = ReduceMax <keepdims = 0> (apart, three) s0 = MatMul (best, kT)',
);

test('preset v2 refuses them', () => {
  const error = thrownBy(() => rewriteText(pooled, { preset: 'v2' }));
  expect(error).toMatchObject({ exitCode: 3 });
  expect(error.message).toContain('queries of as many tokens as are projected');
});

test('and takes queries that are merely divided and put back', () => {
  const whole = pooled.replace(
    'best = ReduceMax <keepdims = 0> (apart, three)',
    'best = Reshape (apart, back)',
  );
  const text = whole.replace('int64[1] three = {3}', 'int64[4] back = {0, 2, 6, 4}');
  expect(rewriteText(text, { preset: 'v2' }).layers).toHaveLength(1);
});

test('presets with one lambda take them', () => {
  expect(rewriteText(pooled).layers).toHaveLength(1);
});
