/** Issue 4: the metrics are those that the original's formulas give in PyTorch (fixtures/monitoring.py). */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { monitorModel } from '../../src/api/monitor';
import {
  type RewriteFileSettings,
  rewriteModel,
  rewrittenBytes,
  writeRewritten,
} from '../../src/api/rewrite';
import { openMonitoring, temporaryFolder } from '../support/fixtures';
import { exposing, modelPath } from '../support/models';
import { numbersOf, readTensors, runModel } from '../support/run';

const fixture = openMonitoring();
let written = 0;

function rewritten(model: string, settings: RewriteFileSettings): string {
  const file = path.join(temporaryFolder(), `monitored-${written++}.onnx`);
  writeRewritten(rewriteModel(model, { ...settings, mixInput: true, normEps: 1e-6 }), file, false);
  return file;
}

const duplicate = { weights: fixture.weights.duplicate };
const split = { weights: fixture.weights.split, splitHeads: true };

/** Logged every third step while the warm-up takes five: three of the five layers by themselves, and all together. */
test.each<[string, keyof typeof fixture.expected, string, RewriteFileSettings]>([
  ['outputs of the model', 'duplicate-eager', fixture.models.torchscript, { ...duplicate, monitorLayers: 3 }],
  [
    'outputs added in memory',
    'duplicate-eager',
    fixture.models.torchscript,
    { ...duplicate, emit: 'inline' },
  ],
  ['split heads', 'split-eager', fixture.models.torchscript, split],
  ['a fused operator, as SDPA', 'duplicate-sdpa', fixture.models.dynamo, duplicate],
])('%s', async (_, expected, model, settings) => {
  const report = await monitorModel(rewritten(model, settings), {
    inputs: expected === 'duplicate-sdpa' ? fixture.rows : fixture.batches,
    logEvery: 3,
    numMonitorLayers: 3,
    warmupSteps: 5,
  });
  const lines = fs.readFileSync(fixture.expected[expected], 'utf8').trimEnd().split('\n');
  const steps = lines.map((line): { step: number } & Record<string, number> => JSON.parse(line));
  expect(report.logged.map(({ step }) => step)).toEqual([...steps.map(({ step }) => step), 7]);
  for (const [index, { step, ...metrics }] of steps.entries()) {
    const given = report.logged[index]?.metrics ?? {};
    expect(Object.keys(given).sort()).toEqual(Object.keys(metrics).sort());
    expect(Object.keys(metrics)).toHaveLength(3 * 12 + 14 + 1);
    const wrong = Object.entries(metrics).filter(
      ([name, value]) =>
        !(Math.abs((given[name] ?? Number.NaN) - value) <= 2e-6 * Math.max(1, Math.abs(value))),
    );
    expect(wrong.map(([name, value]) => [step, name, value, given[name]])).toEqual([]);
  }
  expect(report.layers.map(({ number }) => number)).toEqual([0, 2, 4]);
});

test('the metrics tell batches, components, layers and the forms of logging apart', () => {
  const [eager, sdpa] = (['duplicate-eager', 'duplicate-sdpa'] as const).map((name) =>
    fs
      .readFileSync(fixture.expected[name], 'utf8')
      .split('\n')
      .slice(0, 2)
      .map((line) => JSON.parse(line)),
  );
  const values = [
    eager?.[0]['layer_0/attn1_std'],
    eager?.[1]['layer_0/attn1_std'],
    eager?.[0]['layer_0/attn2_std'],
    eager?.[0]['layer_2/attn1_std'],
    sdpa?.[0]['layer_0/attn1_std'],
  ].map((value: number) => value.toFixed(4));
  expect(new Set(values).size).toBe(values.length);
  expect(eager?.[0]['aggregate/lambda_full_mean']).not.toBeCloseTo(
    eager?.[1]['aggregate/lambda_full_mean'],
    3,
  );
});

test('a model with as many layers as are asked for, or one', async () => {
  const model = rewritten(fixture.models.torchscript, { layers: '1' });
  const report = await monitorModel(model, { inputs: fixture.batches.slice(0, 1) });
  const { metrics = {} } = report.logged[0] ?? {};
  expect(report.layers.map(({ number }) => number)).toEqual([1]);
  expect(metrics['aggregate/lambda1_mean']).toBe(metrics['layer_1/lambda1']);
  expect(metrics['aggregate/lambda1_std']).toBeNaN();
});

/** A lambda for each token and head has a mean; what only vectors have is not there. */
test.each(['torchscript', 'dynamo'] as const)(
  'preset v2, %s: lambda_full is the mean of lambda',
  async (by) => {
    const output = rewriteModel(fixture.models[by], { preset: 'v2', seed: 3 });
    const model = rewrittenBytes(output).read();
    const logits = output.layers.map(({ start }) => start['lambda_logits'] ?? '');
    const [inputs = ''] = fixture.rows;
    const run = await runModel(exposing(model, logits), readTensors(inputs, 'input.'));
    const means = logits.map((name) => {
      const numbers = numbersOf(run[name]);
      expect(numbers).toHaveLength(5 * 4); // tokens and heads
      return numbers.reduce((sum, x) => sum + 1 / (1 + Math.exp(-x)), 0) / numbers.length;
    });
    const { logged } = await monitorModel(modelPath(model), { inputs: [inputs] });
    const metrics = logged[0]?.metrics ?? {};
    expect(metrics['layer_2/lambda_full']).toBeCloseTo(means[2] ?? Number.NaN, 6);
    const mean = means.reduce((sum, x) => sum + x, 0) / means.length;
    const squares = means.reduce((sum, x) => sum + (x - mean) ** 2, 0);
    expect(metrics['aggregate/lambda_full_mean']).toBeCloseTo(mean, 6);
    expect(metrics['aggregate/lambda_full_std']).toBeCloseTo(Math.sqrt(squares / (means.length - 1)), 6);
    const runMetrics = ['attn1_mean', 'attn1_std', 'attn2_mean', 'attn2_std'];
    expect(Object.keys(metrics).sort()).toEqual(
      [
        ...[0, 2, 4].flatMap((layer) =>
          [...runMetrics, 'lambda_full'].map((name) => `layer_${layer}/${name}`),
        ),
        ...['diff_attn_mix', 'lambda_full_mean', 'lambda_full_std'].map((name) => `aggregate/${name}`),
      ].sort(),
    );
  },
);
