/**
 * Models after static quantization (QDQ): ONNX Runtime fuses what quantizes into the operators around it, and then rounds
 * otherwise. Where layers are looked at it cannot, so that a copy which shows them gives something else than the file.
 */
import { verifyModels } from '../../src/api/verify';
import { compareOutputs } from '../../src/verify/check-function';
import { checkLayers } from '../../src/verify/check-layers';
import { outputsThatOptimizationsChange } from '../../src/verify/optimized-outputs';
import { CheckBuilder } from '../../src/verify/report';
import { runRewritten } from '../../src/verify/rewritten-runs';
import { StepChanges } from '../../src/verify/steps';
import { TOLERANCES } from '../../src/verify/tolerance';
import type { VerifySettings } from '../../src/verify/verify';
import { openExport, quantizedFixture } from '../support/fixtures';
import { benchAndRuns, larger } from './support/benches';
import { Draft } from './support/draft';
import { failedChecks, findingsOf, pairOfModel } from './support/pairs';

const ASYMMETRIC = quantizedFixture('qdq_bert-enc-dy18-eager+asymmetric.onnx');
const SYMMETRIC = quantizedFixture('qdq_bert-enc-dy18-eager+symmetric.onnx');
const FLOAT = openExport('bert-enc-dy18-eager').model;
const OUTPUT = "output 'last_hidden_state' of the file itself";

describe.each([
  ['with zero points', ASYMMETRIC],
  ['without', SYMMETRIC],
])('%s', (_, model) => {
  test.each([{ init: 'preserve' }, {}, { splitHeads: true }] as const)('%j passes', async (settings) => {
    const { original, rewritten } = pairOfModel(model, settings);
    const report = await verifyModels(original, rewritten);
    expect(findingsOf(report)).toEqual([]);
    expect(report.passed).toBe(true);
  });
});

const others = ['gpt2-dec-dy18-eager', 'llama-past-dy18-sdpa', 'timm_vit-custom-dy18-sdpa'].flatMap((name) =>
  ['asymmetric', 'contrib'].map((form) => `qdq_${name}+${form}.onnx`),
);
const inBlocks = ['nanogpt-custom-dy18-sdpa', 'llama-past-dy18-sdpa'].flatMap((name) =>
  ['int4', 'uint4'].map((form) => `blocks_${name}+${form}.onnx`),
);

describe.each([...others, ...inBlocks])('%s', (name) => {
  const file = quantizedFixture(name);

  test.each([{}, { init: 'preserve' }, { init: 'zero', sublayerNorm: false }, { splitHeads: true }] as const)(
    '%j passes',
    async (settings) => {
      const { original, rewritten, layers } = pairOfModel(file, settings);
      expect(layers).toHaveLength(2);
      const report = await verifyModels(original, rewritten);
      expect(findingsOf(report)).toEqual([]);
      expect(report.passed).toBe(true);
    },
  );
});

const QUERIES_IN_BLOCKS = 'h.0.attn.q2_proj.weight';

describe('damage is found', () => {
  const damaged = (name: string, damage: (draft: Draft) => void) => {
    const { original, rewritten } = pairOfModel(quantizedFixture(name), { init: 'preserve' });
    const draft = new Draft(rewritten);
    damage(draft);
    return verifyModels(original, draft.write(), { lengths: [5] });
  };
  const reversed = (bytes: Uint8Array) => bytes.reverse();

  test('of a second bias of 32 bits', async () => {
    const report = await damaged('qdq_gpt2-dec-dy18-eager+asymmetric.onnx', (draft) =>
      draft.weight('m.transformer.h.0.attn.q2_proj.bias', reversed),
    );
    expect(failedChecks(report)).toEqual(expect.arrayContaining(['parameters', 'function']));
  });

  test('of one number of 4 bits', async () => {
    const report = await damaged('blocks_nanogpt-custom-dy18-sdpa+uint4.onnx', (draft) =>
      draft.weight(QUERIES_IN_BLOCKS, (bytes) => {
        bytes[5] = (bytes[5] ?? 0) ^ 0x70;
      }),
    );
    expect(failedChecks(report)).toContain('parameters');
  });

  test('of a packed bias of which the keys have a part', async () => {
    const report = await damaged('qdq_timm_vit-custom-dy18-sdpa+asymmetric.onnx', (draft) =>
      draft.weight('blocks.0.a/node_linear/1', reversed),
    );
    expect(failedChecks(report)).toContain('mirrored');
  });

  test('of a cache that holds the components the wrong way round', async () => {
    const report = await damaged('qdq_llama-past-dy18-sdpa+contrib.onnx', (draft) => {
      draft.producer('present.0.key').input.reverse();
    });
    expect(failedChecks(report)).not.toEqual([]);
  });
});

test('what cannot be said of the file is said', async () => {
  const { original, rewritten } = pairOfModel(ASYMMETRIC, {});
  const { notVerified } = await verifyModels(original, rewritten);
  expect(notVerified).toEqual([
    expect.stringMatching(
      /^output 'last_hidden_state' of the file itself on cpu, optimized: optimizations change that of the original by up to \d/,
    ),
  ]);
});

test('damage of a layer is found', async () => {
  const { original, rewritten, layers } = pairOfModel(ASYMMETRIC, {});
  const [, second] = layers;
  const draft = new Draft(rewritten);
  draft.part('lambda2', second?.path ?? '').input = [...draft.part('lambda1', second?.path ?? '').input];
  const report = await verifyModels(original, draft.write(), { lengths: [5] });
  expect(failedChecks(report)).toContain('layers');
});

describe('a file that gives something else than the copy which shows its layers', () => {
  /** Checks the layers as though the file gave numbers that are larger by 1. */
  async function found(model: string, optimization: 'all' | 'disabled') {
    const { bench, runs } = await benchAndRuns(model, { batches: [1], lengths: [1] }, optimization);
    const check = new CheckBuilder('layers', '');
    const { given = [] } = (await runRewritten(bench, runs, [], check)) ?? {};
    const notVerified: string[] = [];
    const wrong = given.map((outputs) => larger(outputs, 1));
    await checkLayers(bench, runs, wrong, check, notVerified);
    const changed = [...(await outputsThatOptimizationsChange(bench, runs)).keys()];
    return { changed, found: check.findings.map(({ message }) => message), notVerified };
  }

  test('is wrong where optimizations change nothing', async () => {
    expect(await found(FLOAT, 'all')).toEqual({
      changed: [],
      found: [expect.stringContaining(OUTPUT)],
      notVerified: [],
    });
  });

  test('is not known to be where they change the original', async () => {
    expect(await found(ASYMMETRIC, 'all')).toEqual({
      changed: ['last_hidden_state'],
      found: [],
      notVerified: [expect.stringContaining(OUTPUT)],
    });
  });

  test('is wrong without optimizations', async () => {
    expect(await found(ASYMMETRIC, 'disabled')).toEqual({
      changed: [],
      found: [expect.stringContaining(OUTPUT)],
      notVerified: [],
    });
  });
});

describe('outputs that change by whole steps', () => {
  const some = { batches: [1, 3], lengths: [1, 5] };

  /** Findings where all numbers of a case are off by this much, in units of the steps; by 0.05 where there are none. */
  async function found(model: string, factor: number, settings: VerifySettings = some) {
    const { bench, runs } = await benchAndRuns(model, settings, 'disabled');
    const steps = await new StepChanges(bench, runs).of('last_hidden_state');
    const off = steps > 0 ? factor * steps : 0.05;
    const check = new CheckBuilder('function', '');
    const given = runs.map(({ outputs }, index) => (index === 0 ? larger(outputs, off) : outputs));
    await compareOutputs(bench, runs, given, check, []);
    return { steps, findings: check.findings.length };
  }

  test('may be off by as much as those of the original are where its attentions are a little off', async () => {
    const { steps, findings } = await found(SYMMETRIC, 0.99);
    expect(steps).toBeGreaterThan(TOLERANCES.quantized.atol);
    expect(findings).toBe(0);
  });

  test('and not by more', async () => {
    expect((await found(SYMMETRIC, 2)).findings).toBe(1);
  });

  test('are none where nothing is quantized, or the user says what is allowed', async () => {
    expect(await found(FLOAT, 1)).toEqual({ steps: 0, findings: 1 });
    const strict = { ...some, tolerance: { atol: 1e-2, rtol: 0 } };
    expect(await found(SYMMETRIC, 1, strict)).toEqual({ steps: 0, findings: 1 });
  });
});
