/**
 * What shows an attention map may stand before or behind the product with values, and move or cast the map as it likes: it
 * shows the differential one, of half as many heads where heads are split.
 */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { declaredShape } from '../../src/ir';
import { ATTENTION, line, variant } from '../support/attention-text';
import { randomFill } from '../support/fixtures';
import { modelPath, nodeNamed, textBytes, thrownBy } from '../support/models';
import { floatTensor, largestDifference, numbersOf, runModel } from '../support/run';
import { Draft } from '../verify/support/draft';
import { failedChecks, findingsOf, pairOfModel } from '../verify/support/pairs';

interface Shown {
  /** Operators from A to `map`. */
  readonly nodes: string;
  /** What the model declares of `map`. */
  readonly type: string;
  /** The same with split heads; undefined where they are refused. */
  readonly halved: (string | number | undefined)[] | undefined;
}

const shown: Record<string, Shown> = {
  'the map, cast to float64 and back': {
    nodes: '["wide"] D = Cast <to = 11> (A)\n["narrow"] map = Cast <to = 1> (D)',
    type: 'float[B, 4, S, S]',
    halved: ['B', 2, 'S', 'S'],
  },
  'queries and keys in each other’s place': {
    nodes: '["turn"] map = Transpose <perm = [0, 1, 3, 2]> (A)',
    type: 'float[B, 4, S, S]',
    halved: ['B', 2, 'S', 'S'],
  },
  'heads last': {
    nodes: '["turn"] map = Transpose <perm = [0, 2, 3, 1]> (A)',
    type: 'float[B, S, S, 4]',
    halved: ['B', 'S', 'S', 2],
  },
  'an axis more, and one less': {
    nodes:
      '["add"] M1 = Unsqueeze (A, zero)\n["drop"] M2 = Squeeze (M1, zero)\n["more"] map = Unsqueeze (M2, zero)',
    type: 'float[1, B, 4, S, S]',
    halved: [1, 'B', 2, 'S', 'S'],
  },
  'heads and batch on one axis': {
    nodes: '["fold"] map = Flatten <axis = 2> (A)',
    type: 'float[H, N]',
    halved: [undefined, 'N'],
  },
  'by shape arithmetic that leaves the heads open': {
    nodes: '["again"] map = Reshape (A, open)',
    type: 'float[B, 4, N]',
    halved: ['B', 2, 'N'],
  },
  'by a shape that counts the heads': {
    nodes: '["again"] map = Reshape (A, counted)',
    type: 'float[B, 4, N]',
    halved: undefined,
  },
  'one of the heads': {
    nodes: '["third"] map = Gather <axis = 1> (A, two)',
    type: 'float[B, S, S]',
    halved: undefined,
  },
  'the mean over the heads': {
    nodes: '["mean"] map = ReduceMean <axes = [1], keepdims = 0> (A)',
    type: 'float[B, S, S]',
    halved: ['B', 'S', 'S'],
  },
  'the sum over the heads, divided by their number': {
    nodes: '["sum"] M = ReduceSum <keepdims = 0> (A, one)\n["mean"] map = Div (M, four)',
    type: 'float[B, S, S]',
    halved: undefined,
  },
  'the map twice, one behind the other': {
    nodes: '["copy"] M = Identity (A)\n["both"] map = Concat <axis = 1> (A, M)',
    type: 'float[B, 8, S, S]',
    halved: ['B', 4, 'S', 'S'],
  },
  'in a branch': {
    nodes:
      '["branch"] map = If (yes) <then_branch = t () => (float[B, 4, S, S] m1) { m1 = Identity (A) }, else_branch = e () => (float[B, 4, S, S] m2) { m2 = Transpose <perm = [0, 1, 3, 2]> (A) }>',
    type: 'float[B, 4, S, S]',
    halved: ['B', 2, 'S', 'S'],
  },
};

const four = variant(ATTENTION, [
  ['split = {0, 0, 2, 4}', 'split = {0, 0, 4, 2}'],
  [
    '  float scale',
    '  int64[1] zero = {0}, int64[1] one = {1}, int64 two = {2}, float four = {4}, bool yes = {1}, int64[3] open = {0, 0, -1}, int64[3] counted = {0, 4, -1},\n  float scale',
  ],
]);

const textOf = ({ nodes, type }: Shown, before: boolean) =>
  variant(four, [
    ['=> (float[B, S, 8] y)', `=> (float[B, S, 8] y, ${type} map)`],
    [line('attended'), before ? `${nodes}\n${line('attended')}` : `${line('attended')}\n${nodes}`],
  ]);

const x = floatTensor([2, 3, 8], randomFill(5)('x', 48));
const splits: readonly RewriteFileSettings[] = [{ splitHeads: true }, { preset: 'paper', emit: 'inline' }];
const duplicates: readonly RewriteFileSettings[] = [{}, { emit: 'inline' }, { preset: 'v2' }];
const LAMBDA = 0.2;

describe.each(Object.entries(shown))('%s', (name, what) => {
  describe.each(['before', 'behind'] as const)('%s the product', (where) => {
    const original = modelPath(textBytes(textOf(what, where === 'before')));

    // Modes take turns.
    const turn = Object.keys(shown).indexOf(name) + (where === 'before' ? 0 : 1);

    test('duplicate heads: verified', async () => {
      const { rewritten } = pairOfModel(original, duplicates[turn % duplicates.length]);
      expect(findingsOf(await verifyModels(original, rewritten))).toEqual([]);
    });

    test('under preserve it shows (1 - lambda) times what it showed', async () => {
      const bytes = rewrittenBytes(rewriteModel(original, { init: 'preserve' })).read();
      const [expected, actual] = [await runModel(original, { x }), await runModel(bytes, { x })];
      expect(largestDifference(expected['y'], actual['y'])).toBeLessThan(1e-5);
      expect(actual['map']?.shape).toEqual(expected['map']?.shape);
      const numbers = numbersOf(expected['map']);
      const off = numbersOf(actual['map']).map((value, at) => value - (1 - LAMBDA) * (numbers[at] ?? 0));
      expect(Math.max(...off.map(Math.abs))).toBeLessThan(1e-6);
    });

    test('split heads: verified, and the declared type is that of what runs; or a reason', async () => {
      const settings = splits[turn % splits.length] ?? {};
      if (!what.halved) {
        const error = thrownBy(() => rewriteModel(original, settings));
        expect(error.code).toBe('unrewritten');
        expect(error.message).toContain('probabilities-escape');
        return;
      }
      const { rewritten } = pairOfModel(original, settings);
      expect(findingsOf(await verifyModels(original, rewritten))).toEqual([]);
      const [, map] = rewriteModel(original, settings).model.graph.outputs;
      expect(map && declaredShape(map)).toEqual(what.halved);
      const given = (await runModel(rewritten, { x }))['map']?.shape;
      what.halved.forEach((size, axis) => {
        if (typeof size === 'number') expect(given?.[axis]).toBe(size);
      });
    });
  });
});

test('who asks for the shape of the map sees that of the model’s own', async () => {
  const text = variant(four, [
    ['=> (float[B, S, 8] y)', '=> (float[B, S, 8] y, float[B, 4, S, S] A, int64[4] sizes)'],
    [line('attended'), `sizes = Shape (A)\n${line('attended')}`],
  ]);
  const original = modelPath(textBytes(text));
  const { rewritten } = pairOfModel(original, { splitHeads: true });
  expect(findingsOf(await verifyModels(original, rewritten))).toEqual([]);
  const { A, sizes } = await runModel(rewritten, { x });
  expect([A?.shape, numbersOf(sizes)]).toEqual([
    [2, 2, 3, 3],
    [2, 4, 3, 3],
  ]);
});

test('what the values depend on cannot stand behind the map', () => {
  const text = variant(four, [
    [
      line('attended'),
      '["width"] shown = Identity (A)\nsize = Shape (shown)\nbatch = Slice (size, zero, one, zero)\nrest = Concat <axis = 0> (batch, tail)\nW = Reshape (V, rest)\n["attended"] C = MatMul (A, W)',
    ],
    ['int64[1] zero', 'int64[3] tail = {4, -1, 2}, int64[1] zero'],
    ['=> (float[B, S, 8] y)', '=> (float[B, S, 8] y, float[B, 4, S, S] shown)'],
  ]);
  const error = thrownBy(() => rewriteModel(modelPath(textBytes(text))));
  expect(error.message).toContain("probabilities-escape at 'width'");
});

test.each([
  ['a quarter of the heads', '1'],
  ['another number of queries', '7'],
])('a declared type that says %s is caught', async (_, size) => {
  const what = shown['queries and keys in each other’s place'];
  if (!what) throw new Error('no such form');
  const original = modelPath(textBytes(textOf(what, true)));
  const { rewritten } = pairOfModel(original, { splitHeads: true });
  const draft = new Draft(rewritten);
  const [, map] = draft.outputs;
  const dim = map?.type?.tensorType?.shape?.dim;
  if (!map || !dim) throw new Error('no type');
  const wrong = dim.map((each, axis) =>
    axis === (size === '1' ? 1 : 2) ? { dimValue: BigInt(size) } : each,
  );
  draft.outputs[1] = {
    ...map,
    type: { ...map.type, tensorType: { ...map.type?.tensorType, shape: { dim: wrong } } },
  };
  expect(failedChecks(await verifyModels(original, draft.write()))).toContain('structure');
});

test('what shows the map reads another value: caught', async () => {
  const what = shown['queries and keys in each other’s place'];
  if (!what) throw new Error('no such form');
  const original = modelPath(textBytes(textOf(what, true)));
  const { rewritten } = pairOfModel(original, {});
  const draft = new Draft(rewritten);
  draft.node('turn').input[0] = 'V';
  expect(failedChecks(await verifyModels(original, draft.write()))).toContain('structure');
});

test('where nobody stands before the product, nothing moves', () => {
  const what = shown['heads last'];
  if (!what) throw new Error('no such form');
  const { model } = rewriteModel(modelPath(textBytes(textOf(what, false))));
  const names = model.graph.nodes.map(({ name }) => name);
  expect(names.indexOf(nodeNamed(model, 'turn').name)).toBeGreaterThan(names.indexOf('softmax'));
});
