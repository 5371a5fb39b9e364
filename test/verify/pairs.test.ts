/** Rewrites of real exports pass verification, and every check that should look has looked at something. */
import type { RewriteFileSettings } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import type { CheckName, VerifyReport } from '../../src/verify/report';
import { openGolden } from '../support/fixtures';
import { goldenSettings } from '../support/golden';
import { checkOf, findingsOf, pairOf, pairOfModel, type WrittenPair } from './support/pairs';

const STILL: readonly CheckName[] = ['record', 'structure', 'parameters'];
const DUPLICATE: readonly CheckName[] = [...STILL, 'layers', 'neutralised', 'mirrored'];
const KEEPING: readonly CheckName[] = [...DUPLICATE, 'function'];
const SPLIT: readonly CheckName[] = [...STILL, 'layers'];

const settings: [string, RewriteFileSettings, readonly CheckName[]][] = [
  ['zero, without norm', { init: 'zero', sublayerNorm: false }, KEEPING],
  ['preserve', { init: 'preserve' }, KEEPING],
  ['random', {}, DUPLICATE],
  ['random, inline', { emit: 'inline' }, DUPLICATE],
  ['mirror, with the warm-up input', { init: 'mirror', mixInput: true }, DUPLICATE],
  ['split', { splitHeads: true }, SPLIT],
  ['split mirror', { splitHeads: true, init: 'mirror', emit: 'inline' }, SPLIT],
  ['layer 0 alone', { layers: '0' }, DUPLICATE],
  ['paper, mirror', { preset: 'paper', init: 'mirror' }, SPLIT],
  ['diffllama, inline', { preset: 'diffllama', emit: 'inline' }, SPLIT],
  ['v2', { preset: 'v2' }, DUPLICATE],
  [
    'v2 mirror, inline',
    { preset: 'v2', init: 'mirror', emit: 'inline', mixInput: true },
    [...DUPLICATE, 'mix'],
  ],
  ['v2 preserve', { preset: 'v2', init: 'preserve' }, KEEPING],
];

const exported = [
  'bert-enc-ts14-eager',
  'bert-enc-ts14-eager+fp16',
  'bert-enc-dy18-sdpa+external',
  'bert-enc-dy18-sdpa+ortfused',
  'gpt2-dec-dy23-sdpa',
  'gpt2-dec-ts17-sdpa+int8',
  'llama-dec-ts17-sdpa+q4',
  'llama-dec-dy18-eager',
  'llama-dec-ts17-sdpa+fp16',
  'llama-past-dy18-sdpa',
  'dinov2-vis-dy23-sdpa',
  'timm_vit-custom-ts17-sdpa',
  'opt-dec-dy18-eager',
  'qwen2-dec-ts14-eager',
];

async function verified({ original, rewritten }: WrittenPair): Promise<VerifyReport> {
  return verifyModels(original, rewritten, { lengths: [1, 5] });
}

function expectPassed(report: VerifyReport, checks: readonly CheckName[]): void {
  expect(findingsOf(report)).toEqual([]);
  expect(report.passed).toBe(true);
  expect(report.checks.map(({ name }) => name)).toEqual(checks);
  expect(report.checks.filter(({ compared }) => compared === 0)).toEqual([]);
}

describe.each(exported)('%s', (name) => {
  test.each(settings)('%s', async (_, options, checks) => {
    const report = await verified(pairOf(name, options));
    expectPassed(report, checks);
    expect(report.keepsFunction).toBe(checks === KEEPING);
    expect(report.firstDivergingLayer).toBeUndefined();
    // Images have one size.
    const text = !/-vis-|timm_vit/.test(name);
    const wanted = text
      ? [
          'batch 1, length 1',
          'batch 3, length 1',
          'batch 3, length 5, left padding',
          'batch 3, length 5, right padding',
        ]
      : ['batch 1, length 5', 'batch 3, length 5'];
    const cases = report.cases.map((each) => each.replace(/, past \d+/, ''));
    if (text) expect(cases).toEqual(expect.arrayContaining(wanted));
    else expect(cases).toHaveLength(wanted.length);
  });
});

test('a layer that was not chosen is said not to be verified', async () => {
  const report = await verified(pairOf('llama-dec-dy18-eager', { layers: '0' }));
  expect(report.notVerified).toEqual([
    'm.model.layers.1.self_attn: not rewritten, so only compared byte for byte',
  ]);
});

test('both layers are compared with every input, with the stored parameters and with others', async () => {
  const report = await verified(pairOf('llama-dec-dy18-eager'));
  const { comparisons, compared } = checkOf(report, 'layers');
  expect(Object.keys(comparisons)).toEqual([
    'm.model.layers.0.self_attn: C',
    'm.model.layers.1.self_attn: C',
    "output 'logits' of the file itself",
  ]);
  // Twice: as users run models, and not optimized.
  expect(compared).toBe(2 * report.cases.length * (2 * 2 + 1));
});

const trained: [string, readonly CheckName[], number][] = [
  // q, k and their seconds, four vectors, lambda_init and the norm of each layer
  ['axolotl-trained', DUPLICATE, 10],
  ['paper-split', SPLIT, 8],
  ['diffllama-split', SPLIT, 7],
  ['v2', DUPLICATE, 4],
];

describe.each(trained)('the trained checkpoint %s', (name, checks, parameters) => {
  test.each(['torchscript', 'dynamo'] as const)('in a %s export', async (exporter) => {
    const golden = openGolden(`base-kv2/${name}`);
    const settings = { ...goldenSettings(golden.settings), weights: golden.attention };
    const report = await verified(pairOfModel(golden.models[exporter], settings));
    expectPassed(report, checks);
    expect(checkOf(report, 'parameters').compared).toBeGreaterThanOrEqual(
      golden.settings.layers * parameters,
    );
  });
});

test('a checkpoint over zeros no longer keeps the function', async () => {
  const golden = openGolden('base-kv2/axolotl-trained-nonorm');
  const options = { weights: golden.attention, init: 'zero', sublayerNorm: false };
  const report = await verified(pairOfModel(golden.models.dynamo, options));
  expectPassed(report, DUPLICATE);
  expect(report.keepsFunction).toBe(false);
});
