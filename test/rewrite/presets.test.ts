/** Presets: what each of them means, and the contradictions that SPEC section 1 names. */

import { rewriteModel } from '../../src/api/rewrite';
import { PRESETS, presetOf } from '../../src/attention/presets';
import { type RewriteSettings, resolveOptions } from '../../src/rewrite/options';
import { openExport } from '../support/fixtures';
import { thrownBy } from '../support/models';

test.each<[string, object]>([
  ['axolotl', { heads: 'duplicate', sublayerNorm: true }],
  ['paper', { heads: 'split', sublayerNorm: true }],
  ['diffllama', { heads: 'split', sublayerNorm: true }],
  ['v2', { heads: 'duplicate', sublayerNorm: false }],
])('%s by itself: %j', (preset, expected) => {
  expect(resolveOptions({ preset })).toMatchObject({ preset, ...expected });
  expect(PRESETS).toContain(preset);
});

test.each<[RewriteSettings, string, string]>([
  [{ preset: 'paper', init: 'zero' }, '--preset paper', '--zero-init'],
  [{ preset: 'diffllama', init: 'zero' }, '--preset diffllama', '--zero-init'],
  [{ preset: 'paper', init: 'preserve' }, '--preset paper', '--init preserve'],
  [{ preset: 'diffllama', splitHeads: true, init: 'preserve' }, '--preset diffllama', '--init preserve'],
  [{ preset: 'paper', sublayerNorm: false }, '--preset paper', '--no-sublayer-norm'],
  [{ preset: 'diffllama', sublayerNorm: false }, '--preset diffllama', '--no-sublayer-norm'],
  [{ preset: 'v2', splitHeads: true }, '--preset v2', '--split-heads'],
  [{ preset: 'v2', init: 'zero' }, '--preset v2', '--zero-init'],
  [{ preset: 'v2', sublayerNorm: true }, '--preset v2', '--sublayer-norm'],
  [{ preset: 'v2', normEps: 1e-5 }, '--preset v2', '--norm-eps'],
  [{ splitHeads: true, init: 'zero' }, '--split-heads', '--zero-init'],
])('%j is refused: %s and %s', (settings, first, second) => {
  const error = thrownBy(() => resolveOptions(settings));
  expect(error).toMatchObject({ code: 'contradiction', exitCode: 2 });
  expect(error.message).toContain(`${first} and ${second} exclude each other: `);
  expect(error.remedy).not.toBe('');
});

test('what agrees with a preset may be said as well', () => {
  expect(resolveOptions({ preset: 'paper', splitHeads: true, sublayerNorm: true, normEps: 1e-6 })).toEqual(
    resolveOptions({ preset: 'paper', normEps: 1e-6 }),
  );
  expect(resolveOptions({ preset: 'v2', sublayerNorm: false })).toEqual(resolveOptions({ preset: 'v2' }));
});

describe('the parameters of a layer', () => {
  const { model } = openExport('llama-dec-ts17-sdpa');
  const added = (settings: RewriteSettings) => {
    const { model: rewritten, layers } = rewriteModel(model, settings);
    const [{ path } = { path: '' }] = layers;
    const names = [...rewritten.graph.values.values()].flatMap(({ name, initializer }) =>
      initializer && name.startsWith(`${path}.`)
        ? [`${name.slice(path.length + 1)} ${initializer.dims}`]
        : [],
    );
    return names.filter((name) => !/^(o|v|k|q)_proj\./.test(name)).sort();
  };
  const vectors = ['lambda_init ', 'lambda_k1 8', 'lambda_k2 8', 'lambda_q1 8', 'lambda_q2 8'];

  // Four heads of width 8, two key heads, a stream of 32.
  test.each<[RewriteSettings, string[]]>([
    [{ preset: 'paper' }, [...vectors, 'subln.weight 16']],
    [{ preset: 'diffllama' }, vectors],
    [{ preset: 'v2' }, ['lambda_proj.weight 4,32', 'q2_proj.weight 32,32']],
    [{ preset: 'v2', init: 'preserve' }, ['lambda_init ', 'lambda_proj.weight 4,32', 'q2_proj.weight 32,32']],
  ])('%j', (settings, expected) => {
    expect(added(settings)).toEqual(expected);
  });

  test('the epsilon of paper is its own, that of diffllama the model has', () => {
    const epsilons = (preset: string) => rewriteModel(model, { preset }).layers.map(({ epsilon }) => epsilon);
    expect(presetOf({ preset: 'paper' }).normEps).toBe(1e-5);
    expect(epsilons('paper')).toEqual([1e-5, 1e-5]);
    expect(epsilons('diffllama').map((each) => each?.toExponential(3))).toEqual(['1.000e-6', '1.000e-6']);
  });
});
