/** SPEC section 6: the warm-up input. With mix 0 and no norm every duplicate rewrite is the original, whatever the init. */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { ATTENTION, variant } from '../support/attention-text';
import { architectures, exportsOf } from '../support/exports';
import { openExport } from '../support/fixtures';
import { rewriteText, thrownBy } from '../support/models';
import { expectClose, floatTensor, largestDifference, readTensors, runModel } from '../support/run';

const mix = (value: number) => ({ diff_attn_mix: floatTensor([], [value]) });
const rewritten = (model: string, settings: RewriteFileSettings) =>
  rewrittenBytes(rewriteModel(model, { sublayerNorm: false, ...settings, mixInput: true })).read();

describe.each(architectures.map(({ name }) => exportsOf(name).at(-1) ?? ''))('%s', (name) => {
  const { model, io } = openExport(name);
  const feeds = readTensors(io, 'input.');
  const original = readTensors(io, 'output.');

  test.each(['random', 'zero', 'mirror', 'preserve'])(
    '%s init, mix 0: the original outputs',
    async (init) => {
      expectClose(await runModel(rewritten(model, { init }), { ...feeds, ...mix(0) }), original, 1e-4);
    },
  );

  test.each(['random', 'mirror', 'preserve'])('v2, %s init, mix 0: the original outputs', async (init) => {
    const bytes = rewritten(model, { preset: 'v2', init });
    expectClose(await runModel(bytes, { ...feeds, ...mix(0) }), original, 1e-4);
  });

  test('v2, mirror init: (1 - mix * lambda) times each attention moves the outputs', async () => {
    const bytes = rewritten(model, { preset: 'v2', init: 'mirror' });
    const moved = await runModel(bytes, { ...feeds, ...mix(1) });
    for (const output of Object.keys(original))
      expect(largestDifference(moved[output], original[output])).toBeGreaterThan(1e-3);
  });

  test.each([0.3, 1])('preserve, mix %d: the original outputs, since the gain follows', async (value) => {
    for (const preset of ['axolotl', 'v2']) {
      const bytes = rewritten(model, { preset, init: 'preserve', emit: 'inline' });
      expectClose(await runModel(bytes, { ...feeds, ...mix(value) }), original, 1e-4);
    }
  });

  test('mix 1 is a rewrite without the input, and something between is something between', async () => {
    const bytes = rewritten(model, {});
    const without = rewrittenBytes(rewriteModel(model, { sublayerNorm: false })).read();
    const full = await runModel(without, feeds);
    expectClose(await runModel(bytes, { ...feeds, ...mix(1) }), full, 1e-5);
    const half = await runModel(bytes, { ...feeds, ...mix(0.5) });
    for (const output of Object.keys(full)) {
      expect(largestDifference(half[output], full[output])).toBeGreaterThan(1e-3);
      expect(largestDifference(half[output], original[output])).toBeGreaterThan(1e-3);
    }
  });
});

test.each([
  ['an input', '(float[B, S, 8] x)', '(float[B, S, 8] x, float diff_attn_mix)'],
  ['a weight', '  float scale', '  float diff_attn_mix = {1},\n  float scale'],
])('a name that %s has already is refused', (_, from, to) => {
  const error = thrownBy(() => rewriteText(variant(ATTENTION, [[from, to]]), { mixInput: true }));
  expect(error).toMatchObject({ code: 'name-taken', exitCode: 2 });
});

test('the input stands behind the others: a float32 scalar without a default', () => {
  const { model } = rewriteModel(openExport('llama-dec-ts17-sdpa+fp16').model, { mixInput: true });
  const input = model.graph.inputs.at(-1);
  expect(input?.name).toBe('diff_attn_mix');
  expect(input?.type).toMatchObject({ tensorType: { elemType: 1, shape: { dim: [] } } });
  expect(input?.initializer).toBeUndefined();
});
