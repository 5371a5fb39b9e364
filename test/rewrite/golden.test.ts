/** Conversions equal those of the four reference implementations, computed by their own code. */
import { rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { PRESETS } from '../../src/attention/presets';
import { type GoldenSettings, goldenNames, openGolden } from '../support/fixtures';
import { goldenSettings } from '../support/golden';
import { expectClose, floatTensor, largestDifference, readTensors, runModel } from '../support/run';

const TOLERANCE = 1e-4;
const cases = goldenNames();

/** Names of the parameters that the rewrite adds to a layer and a checkpoint of the reference holds. */
function newParameters({ preset, heads, sublayerNorm, base }: GoldenSettings): string[] {
  const parts = base.endsWith('-bias') ? ['weight', 'bias'] : ['weight'];
  if (preset === 'v2') return ['q2_proj.weight', 'lambda_proj.weight'];
  return [
    ...(heads === 'split' ? [] : parts.flatMap((part) => [`q2_proj.${part}`, `k2_proj.${part}`])),
    'lambda_q1',
    'lambda_k1',
    'lambda_q2',
    'lambda_k2',
    ...(preset === 'axolotl' ? ['lambda_init'] : []),
    ...(sublayerNorm && preset !== 'diffllama' ? ['subln.weight'] : []),
  ];
}

test('there are 30 conversions, 24 by axolotl and two by each of the others; three keep the function', () => {
  const byPreset = (preset: string) => cases.filter((name) => openGolden(name).settings.preset === preset);
  expect(PRESETS.map((preset) => [preset, byPreset(preset).length])).toEqual([
    ['axolotl', 24],
    ['paper', 2],
    ['diffllama', 2],
    ['v2', 2],
  ]);
  expect(cases).toHaveLength(30);
  expect(cases.filter((name) => openGolden(name).settings.max_abs_change_from_base < 1e-3)).toEqual([
    'base-kv2-bias/axolotl-zero-nonorm',
    'base-kv2/axolotl-zero-nonorm',
    'base-kv4/axolotl-zero-nonorm',
  ]);
});

describe.each(cases)('%s', (name) => {
  const { settings, models, baseIo, attention, io } = openGolden(name);
  const expected = readTensors(io, 'output.');
  const mix = settings.diffAttnMix;
  const feeds = {
    ...readTensors(io, 'input.'),
    ...(mix === undefined ? {} : { diff_attn_mix: floatTensor([], [mix]) }),
  };

  describe.each(['torchscript', 'dynamo'] as const)('%s', (exporter) => {
    const model = models[exporter];

    test.each(['function', 'inline'])('gives the logits of the conversion, emitted as %s', async (emit) => {
      const output = rewriteModel(model, { ...goldenSettings(settings), emit, weights: attention });
      const actual = await runModel(rewrittenBytes(output).read(), feeds);
      expectClose(actual, expected, TOLERANCE);
      // and not because nothing happened
      const change = largestDifference(readTensors(baseIo, 'output.')['logits'], actual['logits']);
      expect(Math.abs(change - settings.max_abs_change_from_base)).toBeLessThan(TOLERANCE);
    });

    test('every parameter of the attention is loaded, and none keeps its initial value', () => {
      const { weights } = rewriteModel(model, { ...goldenSettings(settings), weights: attention });
      expect(weights?.initialised).toEqual([]);
      const loaded = weights?.loaded.map(({ parameter }) => parameter.replace(/^m\./, ''));
      for (let layer = 0; layer < settings.layers; layer++) {
        const path = `model.layers.${layer}.self_attn`;
        expect(loaded).toEqual(
          expect.arrayContaining(newParameters(settings).map((each) => `${path}.${each}`)),
        );
      }
      // The positive projections are loaded into the model's own weights, whose names the exporters make up.
      const own = weights?.loaded.filter(({ key }) => /\.[qk]_proj\./.test(key)).map(({ key }) => key);
      const parts = settings.base.endsWith('-bias') ? ['weight', 'bias'] : ['weight'];
      for (let layer = 0; layer < settings.layers; layer++) {
        for (const part of parts) {
          expect(own).toContain(`model.layers.${layer}.self_attn.q_proj.${part}`);
          expect(own).toContain(`model.layers.${layer}.self_attn.k_proj.${part}`);
        }
      }
      // What is left over belongs to the unchanged part of the attention.
      expect(weights?.unused.filter((key) => !/\.[vo]_proj\./.test(key))).toEqual([]);
    });
  });
});
