/**
 * Random attention graphs, whole ones: found, rewritten, and equal to differential attention in float64 that is computed
 * from the numbers the graph was written from. A failure prints the case, the seed and the path; to run it again:
 *
 *     DIFFX_PROPERTY_SEED=<seed> DIFFX_PROPERTY_PATH=<path> npx jest test/property
 *
 * DIFFX_PROPERTY_RUNS sets the number of cases: tens of thousands find what hundreds do not.
 */
import { compareRun, type Mode, modesFor, originalOf, rewriteRandom } from '../support/generator/check';
import { type RandomModel, randomModel } from '../support/generator/model';
import { type AttentionCase, attentionCases } from '../support/generator/plan';
import fc, { PROPERTY_SEED as SEED } from '../support/properties';

const environment = process.env;
const RUNS = Number(environment['DIFFX_PROPERTY_RUNS'] ?? 520);
const PATH = environment['DIFFX_PROPERTY_PATH'];

/** Every case with second weights of its own, and in one other way besides. */
function modesOf(plan: AttentionCase): readonly Mode[] {
  const [first = 'duplicate', ...others] = modesFor(plan);
  return [first, ...others.slice(plan.seed % others.length).slice(0, 1)];
}

/** Fails with the graph as text. */
async function check(model: RandomModel): Promise<void> {
  try {
    await compareRun(model.plan, originalOf(model));
    for (const mode of modesOf(model.plan)) await compareRun(model.plan, rewriteRandom(model, mode));
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error}\n${model.text}`);
  }
}

test(
  `${RUNS} random attentions, from seed ${SEED}`,
  async () => {
    const seen = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(attentionCases, async (plan) => {
        for (const [name, value] of Object.entries(plan)) {
          if (typeof value === 'string')
            seen.set(`${name} ${value}`, (seen.get(`${name} ${value}`) ?? 0) + 1);
        }
        await check(randomModel(plan));
      }),
      { numRuns: RUNS, seed: SEED, ...(PATH ? { path: PATH } : {}) },
    );
    // A generator that stopped to make a form would pass as well.
    if (PATH === undefined) {
      const rare = Object.entries(WANTED).flatMap(([name, values]) =>
        values
          .filter((value) => (seen.get(`${name} ${value}`) ?? 0) < RUNS / 200)
          .map((value) => `${name} ${value}`),
      );
      expect(rare).toEqual([]);
    }
  },
  Math.max(600_000, RUNS * 2000),
);

/** Each of these must be there often. */
const WANTED: { readonly [K in keyof AttentionCase]?: readonly AttentionCase[K][] } = {
  form: ['written out', 'Attention', 'MultiHeadAttention', 'GroupQueryAttention', 'packed Attention'],
  packing: ['separate', 'q|k|v', 'q, k|v', '[3, h, d]', '[h, 3, d]', '[g, r + 2, d]'],
  linear: ['MatMul', 'Gemm', 'MatMul of a Transpose'],
  norm: ['none', 'RMS of heads', 'RMS of all', 'LayerNorm of heads', 'length 1'],
  rotary: ['none', 'halves', 'pairs', 'halves of some', 'pairs of some'],
  scale: ['behind', 'none', 'divided', 'queries', 'keys', 'both', 'by shape'],
  core: ['4d', '3d', '5d', 'Einsum'],
  product: ['MatMul', 'FusedMatMul', 'keys first', 'values first'],
  softmax: ['plain', 'in float32', 'axis 3', 'Exp of LogSoftmax', 'written out', 'less the largest'],
  cache: ['none', 'joined', 'shown'],
  cacheAxes: ['B g T d', 'B T g d', 'B g d T'],
  mask: ['none', 'additive', 'padding', 'boolean', 'causal', 'causal and padding', 'window', 'hidden rows'],
  order: ['repeated', 'tiled'],
};
