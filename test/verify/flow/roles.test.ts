/** What an input is for shows in what the graph does with it; none of these has a name that says so. */
import { load } from '../../../src/ir';
import { DataType, parseModel } from '../../../src/onnx';
import { runOriginal } from '../../../src/verify/case-runs';
import type { FeedInput } from '../../../src/verify/feeds';
import { inputRoles, knownInputs } from '../../../src/verify/input-roles';
import { withSession } from '../../../src/verify/session';
import { toFloat64 } from '../../../src/verify/tensor';
import { textBytes } from '../../support/models';
import { type AttentionText, attentionText } from '../support/attention-text';

interface Looked {
  readonly roles: Record<string, FeedInput['role']>;
  readonly cases: string[];
  readonly skipped: string[];
}

/** The roles of a model, after it ran on all that is made from them without giving NaN anywhere. */
async function look(text: string): Promise<Looked> {
  const bytes = textBytes(text);
  const model = load(parseModel(bytes, { name: 'text.onnx' }));
  return withSession(bytes, { threads: 1 }, async (session) => {
    const roles = inputRoles(model, session.inputs).map(({ name, role }) => [name, role] as const);
    const skipped: string[] = [];
    const runs = await runOriginal(model, session, {}, skipped);
    for (const { outputs, where, loud } of runs) {
      const numbers = Object.values(outputs).flatMap((tensor) => [...toFloat64(tensor)]);
      if (!loud && numbers.some(Number.isNaN)) throw new Error(`${where}: NaN`);
    }
    return { roles: Object.fromEntries(roles), cases: runs.map(({ where }) => where), skipped };
  });
}

const KEEP = { kind: 'mask' };
const HIDE = { kind: 'mask', form: 'hide' };
const ADDITIVE = { kind: 'mask', form: 'additive' };

test.each<[string, AttentionText, object]>([
  [
    'int64 [B, T], 1 - x times a big negative number, added',
    {
      inputs: ', int64[B, S] a1',
      mask: 'u = Unsqueeze (a1, axes12) f = Cast <to = 1> (u) i = Sub (one, f) b = Mul (i, low) m = Add (s, b)',
    },
    KEEP,
  ],
  [
    'int64 [B, T] with 1 for what is hidden, times a big negative number, added',
    {
      inputs: ', int64[B, S] a1',
      mask: 'u = Unsqueeze (a1, axes12) f = Cast <to = 1> (u) b = Mul (f, low) m = Add (b, s)',
    },
    HIDE,
  ],
  [
    'int32 [B, T] equal to 0 hides',
    {
      inputs: ', int32[B, S] a1',
      constants: ', int32 z = {0}',
      mask: 'u = Unsqueeze (a1, axes12) e = Equal (u, z) m = Where (e, low, s)',
    },
    KEEP,
  ],
  [
    'bool [B, T] that hides',
    { inputs: ', bool[B, S] a1', mask: 'u = Unsqueeze (a1, axes12) m = Where (u, low, s)' },
    HIDE,
  ],
  [
    'bool [B, T] that hides, by minus infinity',
    {
      inputs: ', bool[B, S] a1',
      constants: ', float inf = {-inf}',
      mask: 'u = Unsqueeze (a1, axes12) b = Where (u, inf, zero) m = Add (s, b)',
    },
    HIDE,
  ],
  [
    'bool [B, T] that keeps, behind Not',
    { inputs: ', bool[B, S] a1', mask: 'u = Unsqueeze (a1, axes12) n = Not (u) m = Where (n, low, s)' },
    KEEP,
  ],
  ['bool [S, T]', { inputs: ', bool[S, T] a1', mask: 'm = Where (a1, s, low)' }, KEEP],
  ['float [B, 1, S, T], added', { inputs: ', float[B, 1, S, T] a1', mask: 'm = Add (s, a1)' }, ADDITIVE],
  ['float [S, T], added', { inputs: ', float[S, T] a1', mask: 'm = Add (s, a1)' }, ADDITIVE],
  ['float [T], added', { inputs: ', float[S] a1', mask: 'm = Add (s, a1)' }, ADDITIVE],
  [
    'float [B, T] of 0 and 1',
    {
      inputs: ', float[B, S] a1',
      mask: 'u = Unsqueeze (a1, axes12) i = Sub (one, u) b = Mul (i, low) m = Add (s, b)',
    },
    KEEP,
  ],
  [
    'as GPT-2 had it: the scores times a mask, less what hides',
    {
      inputs: ', int64[B, S] a1',
      mask: `u = Unsqueeze (a1, axes12) f = Cast <to = 1> (u) k1 = Mul (s, f) i = Sub (one, f) b = Mul (i, low)
        m = Add (k1, b)`,
    },
    KEEP,
  ],
  [
    'multiplied with itself, as an outer product',
    {
      inputs: ', int64[B, S] a1',
      mask: `f = Cast <to = 1> (a1) r = Unsqueeze (f, d1) w = Unsqueeze (f, d2) o = MatMul (w, r) u = Unsqueeze (o, d1)
        i = Sub (one, u) b = Mul (i, low) m = Add (s, b)`,
    },
    KEEP,
  ],
  [
    'joined with a causal mask',
    {
      inputs: ', bool[B, S] a1',
      mask: `h = Shape (x) n = Gather (h, n1) r = Range (n0, n, n1) rows = Unsqueeze (r, d1)
        causal = LessOrEqual (r, rows) u = Unsqueeze (a1, axes12) both = And (causal, u) m = Where (both, s, low)`,
    },
    KEEP,
  ],
  ['multiplied into the attention map', { inputs: ', float[B, 1, 1, S] a1', map: 'p = Mul (p0, a1)' }, KEEP],
])('a mask: %s', async (_, text, role) => {
  const { roles, cases } = await look(attentionText(text));
  expect(roles).toEqual({ a0: { kind: 'data' }, a1: role });
  expect(cases.filter((each) => each.includes('padding'))).not.toEqual([]);
});

const TABLES = ', float[7, 8] words = {...}, float[3, 8] types = {...}, float[40, 8] places = {...}';

test.each<[string, AttentionText, Record<string, object>]>([
  [
    'indices have the bound of their own table',
    {
      first: 'int64[B, S] a0',
      inputs: ', int64[B, S] a1',
      constants: TABLES,
      before: 'w = Gather (words, a0) t = Gather (types, a1) x = Add (w, t)',
    },
    { a0: { kind: 'ids', vocabulary: 7 }, a1: { kind: 'ids', vocabulary: 3 } },
  ],
  [
    'the bound is carried through Cast, Sub and Mul',
    {
      first: 'int32[B, S] a0',
      constants: `${TABLES}, int64 two = {2}, int64 five = {5}`,
      before: 'l = Cast <to = 7> (a0) o = Sub (l, five) d = Mul (o, two) x = Gather (places, d)',
    },
    { a0: { kind: 'ids', vocabulary: 20, lowest: 5 } },
  ],
  [
    'behind Clip every number is one',
    {
      first: 'int64[B, S] a0',
      constants: `${TABLES}, int64 six = {6}`,
      before: 'l = Clip (a0, n0, six) x = Gather (words, l)',
    },
    { a0: { kind: 'ids', vocabulary: 32 } },
  ],
  [
    'ids that are compared with the padding are ids',
    {
      first: 'int64[B, S] a0',
      constants: TABLES,
      before: 'x = Gather (words, a0)',
      mask: 'e = Equal (a0, n0) u = Unsqueeze (e, axes12) m = Where (u, low, s)',
    },
    { a0: { kind: 'ids', vocabulary: 7 } },
  ],
  [
    'boxes: four coordinates, each an index, and what lies between them',
    {
      first: 'int64[B, S, 4] a0',
      constants: `${TABLES}, int64 n2 = {2}`,
      before: `l = Gather <axis = 2> (a0, n0) r = Gather <axis = 2> (a0, n2) w = Sub (r, l)
        e1 = Gather (places, l) e2 = Gather (places, r) e3 = Gather (places, w) e4 = Add (e1, e2) x = Add (e4, e3)`,
    },
    { a0: { kind: 'ids', vocabulary: 40 } },
  ],
  [
    'positions are what the sine is taken of',
    {
      inputs: ', int64[B, S] a1',
      constants: ', float[1, 8] frequencies = {...}',
      before: `f = Cast <to = 1> (a1) u = Unsqueeze (f, d2) w = MatMul (u, frequencies) sine = Sin (w) x = Mul (a0, sine)`,
    },
    { a0: { kind: 'data' }, a1: { kind: 'positions' } },
  ],
  [
    'positions are what is compared with the place of keys',
    {
      inputs: ', int64[S] a1',
      mask: `h = Shape (x) n = Gather (h, n1) r = Range (n0, n, n1) rows = Unsqueeze (a1, d1)
        causal = LessOrEqual (r, rows) m = Where (causal, s, low)`,
    },
    { a0: { kind: 'data' }, a1: { kind: 'positions' } },
  ],
  [
    'positions are what is read off a table that multiplies',
    {
      inputs: ', int64[B, S] a1',
      constants: TABLES,
      before: 'cosine = Gather (places, a1) x = Mul (a0, cosine)',
    },
    { a0: { kind: 'data' }, a1: { kind: 'positions', bound: 40 } },
  ],
])('%s', async (_, text, expected) => {
  const { roles, skipped } = await look(attentionText(text));
  expect(roles).toEqual(expected);
  expect(skipped.filter((line) => line.includes('does not run'))).toEqual([]);
});

const PAST: AttentionText = {
  inputs: ', float[B, 2, P, 4] a1, float[B, 2, P, 4] a2',
  cache: 'kk = Concat <axis = 2> (a1, kt) vv = Concat <axis = 2> (a2, vt)',
};

describe('what is put behind an input', () => {
  test('makes a past of it, with an axis', async () => {
    const { roles, cases } = await look(attentionText(PAST));
    expect(roles).toMatchObject({ a1: { kind: 'past', axis: 2 }, a2: { kind: 'past', axis: 2 } });
    expect(cases).toContain('batch 3, length 5, past 6');
  });

  test('that is stored in another layout: the axis is that of the input', async () => {
    const { roles, cases } = await look(
      attentionText({
        inputs: ', float[B, P, 2, 4] a1, float[B, P, 2, 4] a2',
        cache: `kp = Transpose <perm = [0, 2, 1, 3]> (a1) vp = Transpose <perm = [0, 2, 1, 3]> (a2)
          kk = Concat <axis = 2> (kp, kt) vv = Concat <axis = 2> (vp, vt)`,
      }),
    );
    expect(roles).toMatchObject({ a1: { kind: 'past', axis: 1 }, a2: { kind: 'past', axis: 1 } });
    expect(cases).toContain('batch 3, length 5, past 6');
  });

  test('is no past where a convolution follows, though its name says so', async () => {
    const { roles, cases } = await look(
      attentionText({
        ...PAST,
        inputs: `${PAST.inputs}, float[B, 8, 3] past_conv`,
        constants: ', float[8, 1, 4] filter = {...}',
        before: `t = Transpose <perm = [0, 2, 1]> (a0) j = Concat <axis = 2> (past_conv, t)
          f = Conv <group = 8> (j, filter) x = Transpose <perm = [0, 2, 1]> (f)`,
      }),
    );
    expect(roles).toMatchObject({ past_conv: { kind: 'data' }, a1: { kind: 'past', axis: 2 } });
    // A past of 3 would be the only one.
    expect(cases).toEqual(expect.arrayContaining(['batch 3, length 5', 'batch 3, length 5, past 6']));
  });

  test('is no past where a state is carried on', async () => {
    const { roles } = await look(
      attentionText({
        inputs: ', float[B, 8, 8] past_state',
        before: 'h = MatMul (a0, past_state) x = Add (a0, h)',
      }),
    );
    expect(roles['past_state']).toEqual({ kind: 'data' });
  });
});

test('keys that are an input as they are have a length of their own', async () => {
  const { roles, cases } = await look(
    attentionText({
      inputs: ', float[B, 2, N, 4] a1, float[B, 2, N, 4] a2, bool[B, N] a3',
      cache: 'kk = Identity (a1) vv = Identity (a2)',
      mask: 'u = Unsqueeze (a3, axes12) m = Where (u, s, low)',
    }),
  );
  expect(roles).toEqual({
    a0: { kind: 'data' },
    a1: { kind: 'past', whole: true },
    a2: { kind: 'past', whole: true },
    a3: KEEP,
  });
  expect(cases).toContain('batch 3, length 5, left padding');
});

test('a cache of one size, into which new keys are written at their positions', async () => {
  const { roles, cases } = await look(
    attentionText({
      inputs: ', float[B, 2, 24, 4] a1, float[B, 2, 24, 4] a2, int64[S] a3',
      cache: `kk0 = Transpose <perm = [2, 0, 1, 3]> (a1)
        vv0 = Transpose <perm = [2, 0, 1, 3]> (a2) ktt = Transpose <perm = [2, 0, 1, 3]> (kt)
        vtt = Transpose <perm = [2, 0, 1, 3]> (vt) u3 = Unsqueeze (a3, d1)
        kk1 = ScatterND (kk0, u3, ktt) vv1 = ScatterND (vv0, u3, vtt)
        kk = Transpose <perm = [1, 2, 0, 3]> (kk1) vv = Transpose <perm = [1, 2, 0, 3]> (vv1)`,
      mask: `h = Shape (kk) n2 = Constant <value = int64 {2}> () n = Gather (h, n2) r = Range (n0, n, n1)
        rows = Unsqueeze (a3, d1) causal = LessOrEqual (r, rows) m = Where (causal, s, low)`,
    }),
  );
  expect(roles).toMatchObject({
    a1: { kind: 'past' },
    a2: { kind: 'past' },
    a3: { kind: 'positions', bound: 24 },
  });
  expect(cases).toContain('batch 3, length 5, past 24');
});

test('fused operators say what their inputs are', async () => {
  const text = `<ir_version: 10, opset_import: ["" : 23, "com.microsoft" : 1]>
    g (float[B, S, 16] a0, int32[B] a1, int32 a2, float[B, 1, P, W] a3, float[B, 1, P, W] a4, int64[B] a5)
      => (float[B, S, 16] y, float[B, S, 16] z) <
      float[16, 16] wq = {...}, float[16, 8] wk = {...}, float[16, 8] wv = {...}
    > {
      q = MatMul (a0, wq)
      k = MatMul (a0, wk)
      v = MatMul (a0, wv)
      y = com.microsoft.GroupQueryAttention <num_heads = 2, kv_num_heads = 1> (q, k, v, a3, a4, a1, a2)
      z = Attention <q_num_heads = 2, kv_num_heads = 1> (q, k, v, , , , a5)
    }`;
  const bytes = textBytes(text);
  const model = load(parseModel(bytes, { name: 'text.onnx' }));
  const shapes: Record<string, (number | string)[]> = {
    ...{ a0: ['B', 'S', 16], a1: ['B'], a2: [], a3: ['B', 1, 'P', 'W'], a4: ['B', 1, 'P', 'W'], a5: ['B'] },
  };
  const types: Record<string, DataType> = { a1: DataType.INT32, a2: DataType.INT32, a5: DataType.INT64 };
  const described = Object.entries(shapes).map(([name, shape]) => ({
    ...{ name, shape, dtype: types[name] ?? DataType.FLOAT },
  }));
  const { inputs, relations } = knownInputs(model, described);
  expect(Object.fromEntries(inputs.map(({ name, role }) => [name, role]))).toEqual({
    a0: { kind: 'data' },
    a1: { kind: 'total-length', offset: -1 },
    a2: { kind: 'total-length', offset: 0 },
    a3: { kind: 'past' },
    a4: { kind: 'past' },
    a5: { kind: 'key-lengths' },
  });
  // The width of a head.
  expect(relations.get('W')?.value).toBe(8);
});
