/**
 * Quantized models under ONNX Runtime's optimizations, which make operators of integers of them. Those saturate on some
 * processors, and in another place in the rewritten model than in its original: right models must pass on every processor, and
 * damaged ones must not. `npm run test:processors` runs these on several.
 */
import { verifyModels } from '../../src/api/verify';
import { compareOutputs } from '../../src/verify/check-function';
import { changesOfOriginal, OptimizationChanges } from '../../src/verify/optimized-outputs';
import { CheckBuilder, type CheckName } from '../../src/verify/report';
import { createSession, type Session } from '../../src/verify/session';
import { StepChanges } from '../../src/verify/steps';
import { toFloat64 } from '../../src/verify/tensor';
import { TOLERANCES } from '../../src/verify/tolerance';
import { openExport, quantizedFixture } from '../support/fixtures';
import { benchAndRuns, larger } from './support/benches';
import { Draft } from './support/draft';
import { failedChecks, findingsOf, pairOfModel, type WrittenPair } from './support/pairs';

const ONE = { batches: [1], lengths: [5] };
const SOME = { batches: [1, 3], lengths: [5] };
const VIT = quantizedFixture('qdq_timm_vit-custom-dy18-sdpa+contrib.onnx');

/** What is wrong, and the checks that must say so. */
interface Damage {
  readonly title: string;
  readonly damage: (draft: Draft, pair: WrittenPair) => void;
  readonly found: readonly CheckName[];
}

/** The packed weight of queries, keys and values in the first layer. */
function packedWeight({ initializers }: Draft): string {
  for (const [name, { dims }] of initializers) if (dims.join() === '32,96') return name;
  throw new Error('no packed weight');
}

const reversed = (bytes: Uint8Array) => bytes.reverse();
const secondLayer = ({ layers: [, second] }: WrittenPair): string => second?.path ?? '';

const damages: readonly Damage[] = [
  {
    title: 'a wrong weight of a projection',
    damage: (draft) => draft.weight(packedWeight(draft), reversed),
    found: ['structure', 'neutralised', 'function'],
  },
  {
    title: 'a wrong weight of the second queries',
    damage: (draft, { layers: [first] }) => draft.weight(`${first?.path}.q2_proj.weight`, reversed),
    found: ['parameters'],
  },
  {
    title: 'lambda without its first exponent',
    damage: (draft, pair) => {
      const path = secondLayer(pair);
      draft.part('lambda2', path).input = [...draft.part('lambda1', path).input];
    },
    found: ['layers'],
  },
  {
    title: 'a difference that is not taken',
    damage: (draft, pair) => {
      const node = draft.part('map', secondLayer(pair));
      node.opType = 'Identity';
      node.input = node.input.slice(0, 1);
    },
    found: ['layers', 'function'],
  },
  {
    title: 'a sum for a difference',
    damage: (draft, pair) => {
      draft.part('map', secondLayer(pair)).opType = 'Add';
    },
    found: ['layers', 'function'],
  },
];

describe.each(['qdq_gpt2-dec-dy18-eager+asymmetric', 'qdq_timm_vit-custom-dy18-sdpa+contrib'])(
  '%s',
  (name) => {
    const pair = () => pairOfModel(quantizedFixture(`${name}.onnx`), { init: 'preserve' });

    test('passes', async () => {
      const { original, rewritten } = pair();
      const report = await verifyModels(original, rewritten, ONE);
      expect(findingsOf(report)).toEqual([]);
      expect(report.passed).toBe(true);
    });

    test.each(damages)('does not with $title', async ({ damage, found }) => {
      const { original, rewritten } = pair();
      const draft = new Draft(rewritten);
      damage(draft, pair());
      const report = await verifyModels(original, draft.write(), ONE);
      expect(failedChecks(report)).toEqual(expect.arrayContaining([...found]));
    });
  },
);

/** By how much optimizations change an output of a model, over some cases: without what is tested here. */
async function change(
  model: string,
  output: string,
  feeds: readonly Parameters<Session['run']>[0][],
): Promise<number> {
  const given = async (optimization: 'all' | 'disabled') => {
    const session = await createSession(model, { optimization, threads: 1 });
    const all: number[] = [];
    for (const each of feeds) {
      const { [output]: tensor } = await session.run(each);
      if (tensor) all.push(...toFloat64(tensor));
    }
    await session.release();
    return all;
  };
  const [optimized, plain] = [await given('all'), await given('disabled')];
  return Math.max(...optimized.map((value, index) => Math.abs(value - (plain[index] ?? Number.NaN))));
}

describe('a file with optimizations may be off', () => {
  const OUTPUT = 'last_hidden_state';

  async function found(factor: number, optimization: 'all' | 'disabled') {
    const { bench, runs } = await benchAndRuns(VIT, SOME, optimization);
    const changed = await change(
      VIT,
      OUTPUT,
      runs.map(({ feeds }) => feeds),
    );
    expect(changed).toBeGreaterThan(5 * TOLERANCES.quantized.atol);
    const steps = Math.max(TOLERANCES.quantized.atol, await new StepChanges(bench, runs).of(OUTPUT));
    const check = new CheckBuilder('function', '');
    const notVerified: string[] = [];
    const given = runs.map(({ outputs }) => larger(outputs, steps + factor * changed));
    await compareOutputs(bench, runs, given, check, notVerified);
    return { findings: check.findings.length, notVerified };
  }

  test('by what they change in the original, and as much again', async () => {
    const line = expect.stringMatching(/^output 'last_hidden_state' on cpu, optimized, more exactly than \d/);
    expect(await found(1.9, 'all')).toEqual({ findings: 0, notVerified: [line] });
  });

  test('not by more', async () => {
    expect(await found(2.5, 'all')).toEqual({ findings: 1, notVerified: [] });
  });

  test('without them by none of it', async () => {
    expect(await found(0.5, 'disabled')).toEqual({ findings: 1, notVerified: [] });
  });

  test('not where the user says what is allowed, and not where nothing is quantized', async () => {
    const allowed = async (model: string, settings: object) => {
      const { bench, runs } = await benchAndRuns(model, { ...SOME, ...settings }, 'all');
      return changesOfOriginal(bench, runs, new StepChanges(bench, runs)).of(OUTPUT);
    };
    expect(await allowed(VIT, { tolerance: { atol: 1e-3, rtol: 0 } })).toBe(0);
    expect(await allowed(openExport('timm_vit-custom-dy18-sdpa').model, {})).toBe(0);
    expect(await allowed(VIT, {})).toBeGreaterThan(0);
  });
});

test('what optimizations change in both results is added up', async () => {
  const { bench, runs } = await benchAndRuns(VIT, SOME, 'all');
  const steps = new StepChanges(bench, runs);
  const one = changesOfOriginal(bench, runs, steps);
  const changed = await one.measure();
  const single = new OptimizationChanges(bench, steps, async () => changed.slice(0, 1));
  expect(await one.of('last_hidden_state')).toBe(2 * (await single.of('last_hidden_state')));
});
