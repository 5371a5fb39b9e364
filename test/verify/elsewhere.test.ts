/** Verification beside the CPU: what is compared, what is blamed on whom, and that a difference is traced to its node. */

import { passes } from '../../passes';
import { verifyModels } from '../../src/api/verify';
import { findAttention } from '../../src/attention/find';
import { readRecord } from '../../src/attention/record';
import { load } from '../../src/ir';
import { DataType, readModel } from '../../src/onnx';
import { Bench } from '../../src/verify/bench';
import { makeFeeds, planCases } from '../../src/verify/feeds';
import { inputRoles } from '../../src/verify/input-roles';
import { locateElsewhere } from '../../src/verify/locate-elsewhere';
import { Correspondence } from '../../src/verify/outside';
import { parseProvider } from '../../src/verify/providers';
import { CheckBuilder } from '../../src/verify/report';
import { TOLERANCES, widenFor } from '../../src/verify/tolerance';
import { toleranceBetween } from '../../src/verify/verify-elsewhere';
import { describeSecondProvider } from '../support/second-provider';
import { models, subjectOf } from './support/mutation';
import { checkOf, failedOn, findingsOf, pairOf } from './support/pairs';

const FEW = { lengths: [5] };

function benchOf(original: string, rewritten: string): Bench {
  const pair = { original: load(readModel(original)), rewritten: load(readModel(rewritten)) };
  const record = readRecord(pair.rewritten);
  if (!record) throw new Error('no record');
  const { sites } = findAttention(pair.original, passes.recognisers);
  const map = new Correspondence(pair.original, pair.rewritten, record, sites);
  const nothing = { prepared: [], prepareOriginal: () => undefined, expectedParameters: new Map() };
  const whole = { ...pair, ...nothing, record, sites, keepsFunction: false };
  return new Bench(whole, map, {});
}

/** Lets a sound model stand for the CPU and a damaged one for a provider. */
async function located(damage: (subject: ReturnType<typeof subjectOf>) => void): Promise<string[]> {
  const subject = subjectOf(models.scores);
  damage(subject);
  const { original, rewritten } = subject.pair;
  const [home, away] = [benchOf(original, rewritten), benchOf(original, subject.draft.write())];
  const check = new CheckBuilder('providers', '');
  await home.original(async (session) => {
    const inputs = inputRoles(home.pair.original, session.inputs);
    const [one] = planCases(inputs, { batches: [2], lengths: [5] });
    if (!one) throw new Error('no case');
    await locateElsewhere(home, away, { where: 'here', feeds: makeFeeds(inputs, one), outputs: {} }, check);
  });
  return check.findings.map(({ message, layer }) => `${layer}: ${message}`);
}

describe('the first node that differs', () => {
  test('inside the second layer', async () => {
    const subject = subjectOf(models.scores);
    const name = `${subject.second.path}.query.bias`;
    const found = await located(({ draft }) =>
      draft.weight(name, (bytes) => {
        new Float32Array(bytes.buffer, bytes.byteOffset, 4).fill(3);
      }),
    );
    const reader = subject.draft.reader(name);
    expect(found).toEqual([
      expect.stringContaining(
        `${subject.second.path}: ${subject.second.path}: the first layer that gives something else on cpu (here)`,
      ),
      expect.stringContaining(
        `'${reader.name}' (${reader.opType}): the first node that gives something else on cpu (here), by up to `,
      ),
    ]);
  });

  test('behind all layers', async () => {
    const { draft, second } = subjectOf(models.scores);
    const name = 'm.encoder.layer.1.output.dense.bias';
    const reader = draft.reader(name);
    const found = await located((subject) =>
      subject.draft.weight(name, (bytes) => {
        new Float32Array(bytes.buffer, bytes.byteOffset, 4).fill(3);
      }),
    );
    expect(found).toEqual([
      expect.stringContaining(`undefined: '${reader.name}' (${reader.opType}): the first node`),
    ]);
    expect(found.join()).not.toContain(second.path);
  });

  test('none, where nothing differs', async () => {
    expect(await located(() => undefined)).toEqual([
      expect.stringContaining('no single value differs on cpu'),
    ]);
  });
});

test('tolerances are as wide as a provider needs, and never narrower than those of the CPU', () => {
  const { float64, float32, float16, exact } = TOLERANCES;
  for (const tolerance of [float64, float32, float16, exact])
    expect(widenFor(parseProvider('cpu'), tolerance)).toEqual(tolerance);
  expect(widenFor(parseProvider('webgpu'), float32)).toEqual({ atol: 1e-3, rtol: 1e-3 });
  expect(widenFor(parseProvider('webgpu'), exact)).toEqual(exact);
  expect(widenFor(parseProvider('coreml'), float32)).toEqual(float16);
  expect(widenFor(parseProvider('webgpu'), float16)).toEqual(float16);
});

test('two places may be as far apart as both may be off, or as the user says', () => {
  const { original, rewritten } = pairOf('bert-enc-dy18-eager');
  const home = benchOf(original, rewritten);
  const away = home.at({ provider: parseProvider('webgpu') });
  expect(toleranceBetween(home, away)(DataType.FLOAT)).toEqual({ atol: 1.1e-3, rtol: 1.1e-3 });
  expect(toleranceBetween(home, away)(DataType.INT64)).toEqual({ atol: 0, rtol: 0 });
  const settings = { tolerance: { atol: 1e-5, rtol: 0 } };
  const strict = new Bench(away.pair, away.map, settings, away.place);
  expect(toleranceBetween(home, strict)(DataType.FLOAT)).toEqual(settings.tolerance);
});

test('every check is made with optimizations and without', async () => {
  const { original, rewritten } = pairOf('bert-enc-dy18-eager', { init: 'preserve', mixInput: true });
  const report = await verifyModels(original, rewritten, { ...FEW, tolerance: { atol: 0, rtol: 0 } });
  for (const name of ['layers'] as const) expect(checkOf(report, name).findings.length).toBeGreaterThan(0);
  const runs = report.cases.length;
  expect(checkOf(report, 'function').compared).toBeGreaterThanOrEqual(2 * runs);
  expect(checkOf(report, 'mix').compared).toBeGreaterThanOrEqual(2 * runs);
});

describeSecondProvider('a rewrite', (ep) => {
  const on = { ...FEW, ep };
  test.each([
    [
      'bert-enc-dy18-eager',
      { init: 'preserve', mixInput: true },
      ['placement', 'providers', 'layers', 'function', 'mix'],
    ],
    ['llama-past-dy18-sdpa', { init: 'preserve' }, ['placement', 'providers', 'layers', 'function']],
    ['ms-gqa-rotary', { init: 'preserve' }, ['placement', 'providers', 'layers', 'function']],
    ['ms-gqa-rotary', { splitHeads: true }, ['placement', 'providers', 'layers']],
    ['gpt2-dec-dy18-eager', { splitHeads: true }, ['placement', 'providers', 'layers']],
    ['vit-vis-dy18-sdpa', {}, ['placement', 'providers', 'layers']],
  ] as const)('of %s %j does its work there', async (name, settings, names) => {
    const { original, rewritten } = pairOf(name, settings);
    const report = await verifyModels(original, rewritten, on);
    expect(findingsOf(report)).toEqual([]);
    expect(report.passed).toBe(true);
    expect(report.checks.filter(({ provider }) => provider === ep).map((check) => check.name)).toEqual(names);
    expect(report.placements).toHaveLength(2);
    for (const { ran, fellBack } of report.placements) {
      expect(ran).toBeGreaterThan(20);
      expect(fellBack.filter(({ computes }) => computes)).toEqual([]);
    }
  });

  // In float16, WebGPU's softmax and the CPU's disagree on a query that no key is left for.
  const known = ep.startsWith('webgpu') ? test : test.skip;
  known('in which the provider is wrong itself names the node, and clears the rewrite', async () => {
    const { original, rewritten } = pairOf('llama-past-dy18-sdpa+fp16', { init: 'preserve' });
    const report = await verifyModels(original, rewritten, { ...on, batches: [3] });
    expect(failedOn(report, ep)).toEqual(['providers', 'function']);
    const { findings = [] } = report.checks.find(({ name }) => name === 'providers') ?? {};
    expect(findings.map(({ message }) => message)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/\(Softmax\): the first node that gives something else on webgpu/),
        expect.stringMatching(/^the original itself is not the same there/),
      ]),
    );
  });

  // Each rounds the scores of a row of padding in its own way. The reference rounds them as their type says, which is what
  // WebGPU does; the CPU computes in float32.
  known(
    'that rounds scores otherwise than the CPU is right in its layers, and clears the rewrite',
    async () => {
      const { original, rewritten } = pairOf('bert-enc-ts14-eager+fp16', { init: 'preserve' });
      const report = await verifyModels(original, rewritten, { ep });
      expect(failedOn(report, ep)).toEqual(['providers', 'function']);
      for (const check of report.checks.filter(
        ({ name, provider }) => name === 'providers' && provider === ep,
      ))
        expect(check.findings).toContainEqual({
          message: expect.stringMatching(/^the original itself is not the same there/),
          inOriginal: true,
        });
    },
  );

  known.each([{ init: 'preserve' }, { splitHeads: true }] as const)(
    'of a quantized model %j may give outputs that are some steps away',
    async (settings) => {
      const { original, rewritten } = pairOf('llama-past-dy18-sdpa+int8', settings);
      const report = await verifyModels(original, rewritten, { ep });
      // There is no kernel for what quantizes.
      expect(failedOn(report, ep)).toEqual(['placement']);
    },
  );

  test('with --require-ep all fails where anything stays on the CPU', async () => {
    const { original, rewritten } = pairOf('bert-enc-dy18-eager');
    const report = await verifyModels(original, rewritten, { ...on, requireEp: 'all' });
    expect(failedOn(report, ep)).toEqual(['placement']);
    expect(findingsOf(report)[0]).toMatch(/nodes ran on the CPU instead: '/);
  });

  test('that rounds differently is traced to a node, and seen in the original as well', async () => {
    const { original, rewritten } = pairOf('bert-enc-dy18-eager');
    const report = await verifyModels(original, rewritten, { ...on, tolerance: { atol: 1e-12, rtol: 0 } });
    expect(failedOn(report, ep)).toContain('providers');
    const said = report.checks
      .find(({ name }) => name === 'providers')
      ?.findings.map(({ message }) => message);
    expect(said).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/the first layer that gives something else on /),
        expect.stringMatching(/^'.+' \(\w+\): the first node that gives something else on .* by up to /),
        expect.stringMatching(
          /^the original itself is not the same there, so this is no fault of the rewrite: /,
        ),
      ]),
    );
  });
});
