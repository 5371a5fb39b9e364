/**
 * Models after static quantization (QDQ): ONNX Runtime fuses what quantizes into the operators around it, and then rounds
 * otherwise. Where layers are looked at it cannot, so that a copy which shows them gives something else than the file.
 */
import { passes } from '../../passes';
import { verifyModels } from '../../src/api/verify';
import { findAttention } from '../../src/attention/find';
import { readRecord } from '../../src/attention/record';
import { load } from '../../src/ir';
import { readModel } from '../../src/onnx';
import { Bench, type Tensors } from '../../src/verify/bench';
import { runOriginal } from '../../src/verify/case-runs';
import { checkLayers } from '../../src/verify/check-layers';
import { outputsThatOptimizationsChange } from '../../src/verify/optimized-outputs';
import { Correspondence } from '../../src/verify/outside';
import { CheckBuilder } from '../../src/verify/report';
import { runRewritten } from '../../src/verify/rewritten-runs';
import { toFloat64 } from '../../src/verify/tensor';
import { openExport, quantizedFixture } from '../support/fixtures';
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
    const pair = pairOfModel(model, {});
    const [original, rewritten] = [load(readModel(pair.original)), load(readModel(pair.rewritten))];
    const record = readRecord(rewritten);
    if (!record) throw new Error('no record');
    const { sites } = findAttention(original, passes.recognisers);
    const map = new Correspondence(original, rewritten, record, sites);
    const nothing = { prepared: [], prepareOriginal: () => undefined, expectedParameters: new Map() };
    const whole = { original, rewritten, record, sites, keepsFunction: false, ...nothing };
    const bench = new Bench(whole, map, { batches: [1], lengths: [1] }).at({ optimization });
    const runs = await bench.original((session) => runOriginal(original, session, bench.settings, []));
    const check = new CheckBuilder('layers', '');
    const { given = [] } = (await runRewritten(bench, runs, [], check)) ?? {};
    const larger = given.map(
      (outputs): Tensors =>
        Object.fromEntries(
          Object.entries(outputs).map(([name, tensor]) => [
            name,
            { ...tensor, data: Float32Array.from(toFloat64(tensor), (value) => value + 1) },
          ]),
        ),
    );
    const notVerified: string[] = [];
    await checkLayers(bench, runs, larger, check, notVerified);
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
