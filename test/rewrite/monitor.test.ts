/** SPEC section 7: mean and deviation of both attention maps as outputs. */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { RUN_METRICS } from '../../src/attention/monitored';
import { readRecord } from '../../src/attention/record';
import { checkInvariants, load } from '../../src/ir';
import { parseModel } from '../../src/onnx';
import { ATTENTION } from '../support/attention-text';
import { openExport, randomFill } from '../support/fixtures';
import { exposing, modelPath, rewriteToBytes, textBytes, thrownBy } from '../support/models';
import { floatTensor, numbersOf, readTensors, runModel, type Tensor } from '../support/run';
import { findingsOf, pairOf, pairOfModel } from '../verify/support/pairs';

/** Mean and sample standard deviation, in float64. */
function statistics(numbers: readonly number[]): [mean: number, deviation: number] {
  const mean = numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
  const squares = numbers.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  return [mean, Math.sqrt(squares / (numbers.length - 1))];
}

/** The numbers of softmax(Q K^T), Q of [B, H, S, D] and K of [B, H, T, D]. */
function mapOf(Q: Tensor | undefined, K: Tensor | undefined): number[] {
  if (!Q || !K) throw new Error('not exposed');
  const [S = 0, D = 0] = Q.shape.slice(-2);
  const T = K.shape.at(-2) ?? 0;
  const [q, k] = [numbersOf(Q), numbersOf(K)];
  return Array.from({ length: q.length / D }, (_, row) => {
    const head = Math.floor(row / S);
    const scores = Array.from({ length: T }, (_, t) =>
      Array.from({ length: D }, (_, d) => (q[row * D + d] ?? 0) * (k[(head * T + t) * D + d] ?? 0)).reduce(
        (sum, x) => sum + x,
        0,
      ),
    );
    const all = scores.reduce((sum, x) => sum + Math.exp(x), 0);
    return scores.map((x) => Math.exp(x) / all);
  }).flat();
}

async function metricsOf(name: string, settings: RewriteFileSettings) {
  const { model, io } = openExport(name);
  const output = rewriteModel(model, { monitorLayers: 2, ...settings });
  const [, layer] = output.layers;
  if (!layer) throw new Error('not two layers');
  const exposed = exposing(rewrittenBytes(output).read(), Object.values(layer.start));
  const run = await runModel(exposed, readTensors(io, 'input.'));
  const given = RUN_METRICS.map((metric) => run[`layer_1/${metric}`]);
  expect(given.map((metric) => metric && [metric.dtype, metric.shape])).toEqual(Array(4).fill([1, []]));
  return { layer, run, numbers: given.map((metric) => numbersOf(metric)[0] ?? 0) };
}

function expectNear(given: readonly number[], expected: readonly number[]): void {
  expect(given).toHaveLength(expected.length);
  for (const [index, value] of expected.entries()) expect(given[index]).toBeCloseTo(value, 5);
}

describe.each<[string, RewriteFileSettings]>([
  ['llama-dec-ts17-sdpa', {}],
  ['llama-dec-ts17-sdpa', { splitHeads: true, emit: 'inline' }],
  ['llama-dec-ts17-sdpa+fp16', {}],
  ['gpt2-dec-dy18-sdpa', { init: 'mirror', layers: '0-1' }],
])('probabilities: %s %j', (name, settings) => {
  test('the metrics are those of the maps', async () => {
    const { layer, run, numbers } = await metricsOf(name, settings);
    expect(layer.form).toBe('probabilities');
    const [A1, A2] = ['A1', 'A2'].map((map) => statistics(numbersOf(run[layer.start[map] ?? ''])));
    expectNear(numbers, [...(A1 ?? []), ...(A2 ?? [])]);
    if (settings.init !== 'mirror') expect(A1?.[1]).not.toBeCloseTo(A2?.[1] ?? 0, 5);
  });
});

test.each<[string, RewriteFileSettings]>([
  ['timm_vit-custom-dy23-sdpa', {}],
  ['timm_vit-custom-dy23-sdpa', { emit: 'inline', init: 'preserve' }],
])('scores: %s %j: the metrics are those of the maps', async (name, settings) => {
  const { layer, run, numbers } = await metricsOf(name, settings);
  expect(layer.form).toBe('scores');
  // In this export, queries are scaled before the product.
  expect(Object.keys(layer.start)).toEqual(['Q1', 'K1', 'Q2', 'K2', 'V']);
  const [Q1, K1, Q2, K2] = ['Q1', 'K1', 'Q2', 'K2'].map((key) => run[layer.start[key] ?? '']);
  expectNear(numbers, [...statistics(mapOf(Q1, K1)), ...statistics(mapOf(Q2, K2))]);
});

test.each<[string, RewriteFileSettings]>([
  ['bert-enc-dy23-sdpa', {}],
  ['ms-multihead-attention', { splitHeads: true }],
])(
  'outputs: %s %j: behind a fused operator the metrics are those of what the maps give',
  async (...given) => {
    const { layer, run, numbers } = await metricsOf(...given);
    expect(layer.form).toBe('outputs');
    const [Y1, Y2] = ['Y1', 'Y2'].map((key) => statistics(numbersOf(run[layer.start[key] ?? ''])));
    expectNear(numbers, [...(Y1 ?? []), ...(Y2 ?? [])]);
  },
);

test('outputs and record: behind the others, by the names of SPEC, first and last layer included', () => {
  const { model } = openExport('llama-dec-ts17-sdpa');
  const output = load(parseModel(rewriteToBytes(model, { monitorLayers: 3 })));
  expect(output.graph.outputs.map(({ name }) => name)).toEqual([
    'logits',
    ...RUN_METRICS.map((metric) => `layer_0/${metric}`),
    ...RUN_METRICS.map((metric) => `layer_1/${metric}`),
  ]);
  expect(output.graph.outputs.at(-1)?.type).toMatchObject({
    tensorType: { elemType: 1, shape: { dim: [] } },
  });
  const record = readRecord(output);
  expect(record?.options.monitorLayers).toBe(3);
  expect(record?.monitored.map(({ number, of }) => [number, of])).toEqual([
    [0, 'probabilities'],
    [1, 'probabilities'],
  ]);
  const one = load(parseModel(rewriteToBytes(model, { monitorLayers: 1 })));
  expect(readRecord(one)?.monitored.map(({ number }) => number)).toEqual([0]);
});

test('without the option a model is what it was, and nothing is recorded', () => {
  const output = load(parseModel(rewriteToBytes(openExport('llama-dec-ts17-sdpa').model, {})));
  expect(output.graph.outputs.map(({ name }) => name)).toEqual(['logits']);
  expect(readRecord(output)?.monitored).toEqual([]);
  expect(output.metadataValue('ai.diffx.monitored')).toBeUndefined();
});

test.each([0, -1, 1.5, Number.NaN])('%d layers are refused', (monitorLayers) => {
  const error = thrownBy(() => rewriteModel(openExport('llama-dec-ts17-sdpa').model, { monitorLayers }));
  expect([error.code, error.exitCode]).toEqual(['invalid-number', 2]);
});

/** Verification recomputes the metrics in float64, and finds everything else unchanged. */
test.each<[string, RewriteFileSettings]>([
  ['llama-merged-if-ts17', {}],
  ['llama-past-dy18-sdpa+fp16', { mixInput: true }],
  ['albert-enc-dy18-sdpa', { init: 'mirror', emit: 'inline' }],
  ['bart-seq-ts17-sdpa', { splitHeads: true }],
  ['ms-gqa-rotary', { init: 'preserve' }],
  ['llama-dec-ts17-sdpa', { preset: 'v2', mixInput: true }],
  ['llama-dec-dy18-sdpa', { preset: 'paper' }],
])('%s %j is verified', async (name, settings) => {
  const { original, rewritten } = pairOf(name, { ...settings, monitorLayers: 2 });
  const report = await verifyModels(original, rewritten, { lengths: [5] });
  expect(findingsOf(report)).toEqual([]);
  expect(report.checks.find((check) => check.name === 'monitored')?.compared).toBeGreaterThan(8);
});

test('an output of that name is not taken from anybody', async () => {
  const text = ATTENTION.replaceAll('C_BSE', '"layer_0/attn1_mean"');
  const { original, rewritten } = pairOfModel(modelPath(textBytes(text)), { monitorLayers: 1 });
  const report = await verifyModels(original, rewritten, { lengths: [5] });
  expect(findingsOf(report)).toEqual([]);
});

const [constants = ''] = ATTENTION.match(/ {2}float\[8, 8\].*?(?=\n> \{)/s) ?? [];
const [nodes = ''] = ATTENTION.match(/(?<=> \{\n).*(?=\n\})/s) ?? [];
const x = floatTensor([2, 3, 8], randomFill(5)('x', 48));

const bodyOf = (opType: string, bodies: string, inputs: string) => `g (float[B, S, 8] x, bool c) => (out) <
${constants},
  int64 rounds = {1}
> {
  ["owner"] out = ${opType} (${inputs}) <${bodies}>
}`;

test('in one branch alone: NaN where the other one was taken', async () => {
  const text = bodyOf(
    'If',
    `then_branch: graph = yes () => (float[B, S, 8] y) {
${nodes}
    }, else_branch: graph = no () => (float[B, S, 8] y2) { y2 = Add (x, x) }`,
    'c',
  );
  const output = rewriteModel(modelPath(textBytes(text)), { monitorLayers: 1 });
  expect(checkInvariants(output.model)).toEqual([]);
  const run = async (taken: number) => {
    const c = { dtype: 9, shape: [], data: Uint8Array.of(taken) } as const;
    const given = await runModel(rewrittenBytes(output).read(), { x, c });
    return RUN_METRICS.flatMap((metric) => numbersOf(given[`layer_0/${metric}`]));
  };
  expect(await run(0)).toEqual([Number.NaN, Number.NaN, Number.NaN, Number.NaN]);
  const [mean1 = 0, deviation1, mean2 = 0] = await run(1);
  expect([mean1, mean2].map((mean) => mean.toFixed(5))).toEqual([(1 / 3).toFixed(5), (1 / 3).toFixed(5)]);
  expect(deviation1).toBeGreaterThan(0);
});

/** The nodes of the attention once more, with other names, on another value. */
const again = (input: string, prefix: string) =>
  nodes
    .replace(/\["(\w+)"\]/g, `["${prefix}$1"]`)
    .replace(/\b(q|k|v|q_BSHD|k_BSHD|v_BSHD|Q|K|V|raw|S|A|C|C_BSHD|C_BSE|y)\b(?=[ ,)])/g, `${prefix}$1`)
    .replace(/MatMul \(x,/g, `MatMul (${input},`);

/** The metrics of a model whose switches are given, and of its first run, which is in the main graph. */
async function metricsWith(text: string, switches: Readonly<Record<string, number>>) {
  const output = rewriteModel(modelPath(textBytes(text)), { monitorLayers: 1 });
  expect(checkInvariants(output.model)).toEqual([]);
  expect(output.monitored).toHaveLength(1);
  const [first] = output.layers;
  const maps = [first?.start['A1'] ?? '', first?.start['A2'] ?? ''];
  const flags = Object.entries(switches).map(([name, on]) => {
    return [name, { dtype: 9 as const, shape: [], data: Uint8Array.of(on) }] as const;
  });
  const bytes = rewrittenBytes(output).read();
  const model = maps.every((name) => name !== '') ? exposing(bytes, maps) : bytes;
  const run = await runModel(model, { x, ...Object.fromEntries(flags) });
  const before = maps.flatMap((name) => (run[name] ? statistics(numbersOf(run[name])) : []));
  return { given: RUN_METRICS.flatMap((metric) => numbersOf(run[`layer_0/${metric}`])), before };
}

const TWICE = `g (float[B, S, 8] x, bool c, bool d) => (out) <
${constants}
> {
${nodes.replace('S = Mul (raw, scale)', 'S0 = Mul (raw, scale)\n  S = Abs (S0)')}
  out = If (c) <
    then_branch: graph = outer () => (float[B, S, 8] o) {
      o = If (d) <
        then_branch: graph = inner () => (float[B, S, 8] in_y) {
${again('y', 'in_').replace('in_S = Mul (in_raw, scale)', 'in_S0 = Mul (in_raw, scale)\n  in_S = Abs (in_S0)')}
        },
        else_branch: graph = rest () => (float[B, S, 8] r) { r = Neg (y) }
      >
    },
    else_branch: graph = no () => (float[B, S, 8] n) { n = Identity (y) }
  >
}`;

test('run once more in a branch of a branch: the metrics are of the last run, else of the one before', async () => {
  const [none, outer, inner] = await Promise.all(
    [
      { c: 0, d: 1 },
      { c: 1, d: 0 },
      { c: 1, d: 1 },
    ].map((switches) => metricsWith(TWICE, switches)),
  );
  expectNear(none?.given ?? [], none?.before ?? []);
  expect(none?.before).toHaveLength(4);
  expect(outer?.given).toEqual(none?.given);
  const [, deviation = 0] = inner?.given ?? [];
  expect(deviation).toBeGreaterThan(0);
  expect(deviation).not.toBeCloseTo(none?.given[1] ?? 0, 4);
  const { original, rewritten } = pairOfModel(modelPath(textBytes(TWICE)), { monitorLayers: 1 });
  expect(findingsOf(await verifyModels(original, rewritten, { lengths: [5] }))).toEqual([]);
});

test('in a loop a layer has no one value: it is said, and the rest is done', async () => {
  const text = bodyOf(
    'Loop',
    `body: graph = each (int64 n, bool going) => (bool still, float[B, S, 8] y) {
${nodes}
      still = Identity (going)
    }`,
    'rounds, c',
  );
  const output = rewriteModel(modelPath(textBytes(text)), { monitorLayers: 1 });
  expect(output.layers).toHaveLength(1);
  expect(output.monitored).toEqual([]);
  expect(output.notMonitored).toEqual([
    { number: 0, path: 'layers.0.attn', reason: 'it stands in the body of a Loop' },
  ]);
  const { original, rewritten } = pairOfModel(modelPath(textBytes(text)), { monitorLayers: 1 });
  expect(findingsOf(await verifyModels(original, rewritten, { lengths: [5] }))).toEqual([]);
});
