/** Sizes that a model bakes in, and masks whose values nobody can tell, are found by trying. */
import { load } from '../../src/ir';
import { parseModel } from '../../src/onnx';
import { type CaseRun, runOriginal } from '../../src/verify/case-runs';
import { type Session, withSession } from '../../src/verify/session';
import { toFloat64 } from '../../src/verify/tensor';
import { textBytes } from '../support/models';
import { type AttentionText, attentionText } from './support/attention-text';

interface Fitted {
  readonly cases: string[];
  readonly runs: readonly CaseRun[];
  readonly skipped: string[];
  /** How often the model ran, or was asked to. */
  readonly asked: number;
}

async function fitted(text: string): Promise<Fitted> {
  const bytes = textBytes(text);
  const model = load(parseModel(bytes, { name: 'text.onnx' }));
  return withSession(bytes, { threads: 1 }, async (session) => {
    let asked = 0;
    const counting: Session = {
      ...session,
      run: (...given) => {
        asked++;
        return session.run(...given);
      },
    };
    const skipped: string[] = [];
    const runs = await runOriginal(model, counting, {}, skipped);
    return { cases: runs.map(({ where }) => where), runs, skipped, asked };
  });
}

const shapesOf = ({ runs }: Fitted, name: string) => [
  ...new Set(runs.map(({ feeds }) => `${feeds[name]?.shape}`)),
];

test('a batch that a Reshape bakes in', async () => {
  const text = attentionText({ before: 'x = Identity (a0)' }).replace('split = {0, 0,', 'split = {2, -1,');
  const found = await fitted(text);
  expect(shapesOf(found, 'a0')).toEqual(['2,5,8', '2,1,8', '2,16,8']);
  expect(found.skipped).toEqual([]);
});

test('a length that a table of positions bakes in', async () => {
  const found = await fitted(
    attentionText({ constants: ', float[1, 7, 8] places = {...}', before: 'x = Add (a0, places)' }),
  );
  expect(shapesOf(found, 'a0')).toEqual(['1,7,8', '3,7,8']);
  expect(found.skipped).toEqual([]);
});

test('lengths that must be a multiple of something', async () => {
  const found = await fitted(
    attentionText({
      constants:
        ', int64[4] windows = {0, -1, 4, 8}, int64[3] flat = {0, -1, 8}, int64[4] shape = {0, -1, 4, 8}',
      before: `w = Reshape (a0, windows) f = Relu (w) h = Shape (a0) n = Gather (h, n1) l = Gather (h, n0)
        ul = Unsqueeze (l, d0) un = Unsqueeze (n, d0) eight = Constant <value_ints = [8]> ()
        target = Concat <axis = 0> (ul, un, eight) x = Reshape (f, target)`,
    }),
  );
  expect(shapesOf(found, 'a0')).toContain('3,16,8');
});

test('two lengths, each baked in for itself', async () => {
  const found = await fitted(
    attentionText({
      inputs: ', float[B, N, 8] a1',
      constants: ', int64[2] seven = {-1, 56}, int64[2] three = {-1, 24}, int64[3] back = {-1, 3, 8}',
      before: `r = Reshape (a0, three) x = Reshape (r, back) r1 = Reshape (a1, seven)`,
      outputs: ', float[B, M] z',
      cache: 'kk = Identity (kt) vv = Identity (vt) z = Relu (r1)',
    }),
  );
  expect(found.runs.length).toBeGreaterThan(0);
  expect(found.asked).toBeLessThan(320);
});

test('channels and size of images', async () => {
  const found = await fitted(
    attentionText({
      first: 'float[B, C, H, W] a0',
      constants:
        ', float[8, 3, 4, 4] filter = {...}, float[1, 9, 8] places = {...}, int64[3] patches = {0, 8, -1}',
      before: `f = Conv <kernel_shape = [4, 4], strides = [4, 4]> (a0, filter) r = Reshape (f, patches)
        t = Transpose <perm = [0, 2, 1]> (r) x = Add (t, places)`,
    }),
  );
  expect(shapesOf(found, 'a0')).toEqual(expect.arrayContaining(['1,3,12,12', '3,3,12,12']));
});

test('sounds, of which convolutions make positions', async () => {
  const found = await fitted(
    attentionText({
      first: 'float[B, T] a0',
      constants:
        ', float[8, 1, 10] first = {...}, float[8, 8, 3] second = {...}, float[8, 8, 3] same = {...}',
      before: `u = Unsqueeze (a0, d1) f = Conv <kernel_shape = [10], strides = [5]> (u, first)
        r = Relu (f) g = Conv <strides = [2], dilations = [2]> (r, second)
        h = Conv <pads = [1, 1]> (g, same) x = Transpose <perm = [0, 2, 1]> (h)`,
    }),
  );
  // 1 + 9 + 4 * 5 = 30 numbers are one position; the next one is 5 * 2 behind it.
  const lengths = [30, 70, 180].flatMap((length) => [`1,${length}`, `3,${length}`]);
  expect(shapesOf(found, 'a0')).toEqual(expect.arrayContaining(lengths));
  expect(found.skipped).toEqual([]);
});

test('lengths of two inputs that must be equal, though nothing says so', async () => {
  const found = await fitted(attentionText({ inputs: ', float[M, N, 8] a1', before: 'x = Add (a0, a1)' }));
  expect(found.skipped).toEqual([]);
  for (const { feeds } of found.runs) expect(feeds['a1']?.shape).toEqual(feeds['a0']?.shape);
});

test('lengths that are the sum of two others', async () => {
  const found = await fitted(
    attentionText({
      inputs: ', float[B, 2, P, 4] a1, float[B, 2, P, 4] a2, float[M, 1, Q, T] a3',
      cache: 'kk = Concat <axis = 2> (a1, kt) vv = Concat <axis = 2> (a2, vt)',
      mask: 'm = Add (s, a3)',
    }),
  );
  expect(found.skipped).toEqual([]);
  expect(shapesOf(found, 'a3')).toEqual(expect.arrayContaining(['3,1,5,5', '3,1,5,11']));
});

const NAN = ', float inf = {-inf}, bool yes = {1}';

test.each<[string, AttentionText]>([
  [
    'a mask whose values are not followed is turned round where it hides all',
    {
      inputs: ', bool[B, S] a1',
      mask: 'b = Xor (a1, yes) u = Unsqueeze (b, axes12) n = Not (u) m = Where (n, inf, s)',
    },
  ],
  [
    'and where it is not known to be one',
    {
      inputs: ', int32[B, S] a1',
      constants: ', int32 not1 = {-2}',
      mask: 'b = BitwiseNot (a1) e = Equal (b, not1) u = Unsqueeze (e, axes12) n = Not (u) m = Where (n, inf, s)',
    },
  ],
])('%s', async (_, text) => {
  const { runs, cases } = await fitted(
    attentionText({ ...text, constants: `${NAN}${text.constants ?? ''}` }),
  );
  expect(cases).toContain('batch 3, length 16, left padding');
  for (const { outputs } of runs)
    expect(Object.values(outputs).every((tensor) => toFloat64(tensor).some(Number.isFinite))).toBe(true);
});

test('indices into a table whose size is not known are 0', async () => {
  const found = await fitted(
    attentionText({
      inputs: ', int64[B, S] a1',
      constants: ', float[3, 8] few = {...}, int32 minus = {-1}',
      before: `i = Cast <to = 6> (a1) b1 = BitwiseNot (i) b2 = BitwiseNot (b1) t = Gather (few, b2) x = Add (a0, t)`,
    }),
  );
  expect(found.skipped).toEqual([]);
  expect(found.runs.length).toBeGreaterThan(5);
});

test.each([
  ['', 'i = Add (a1, a2)', '3'],
  ['', 'two = Add (a1, a1) i = Add (two, a2)', '3'],
  [', int64[B, S] a3', 'two = Add (a1, a2) i = Add (two, a3)', '4'],
])('indices that are added up before anything is gathered by them: %s %s', async (inputs, sum, rows) => {
  const found = await fitted(
    attentionText({
      inputs: `, int64[B, S] a1, int64[1] a2${inputs}`,
      constants: `, float[${rows}, 8] few = {...}`,
      before: `${sum} t = Gather (few, i) x = Add (a0, t)`,
    }),
  );
  expect(found.skipped).toEqual([]);
  expect(found.runs.length).toBeGreaterThan(5);
});

test('a model that runs with nothing is refused after a bounded number of tries', async () => {
  const text = attentionText({
    constants: ', int64[3] never = {-1, 7919, 8}',
    before: 'x = Reshape (a0, never)',
  });
  const error = await fitted(text).then(
    () => new Error('it ran'),
    (reason: unknown) => reason,
  );
  expect(error).toMatchObject({
    code: 'no-case-runs',
    exitCode: 2,
    remedy: expect.stringContaining('--inputs'),
  });
});
