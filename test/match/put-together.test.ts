/**
 * One map that weighs several things which are put together again, scores that are put together from several products, and
 * what else stands between projections and scores.
 * What must come out is computed here in float64, as differential attention over all that is weighed: from maps and values
 * of the original, run with its own weights and with the second ones in their place.
 */
import { passes } from '../../passes';
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { findAttention } from '../../src/attention/find';
import type { Fill } from '../../src/ir/text';
import { ATTENTION, line, variant } from '../support/attention-text';
import { randomFill } from '../support/fixtures';
import { inWords } from '../support/found';
import { exposing, modelPath, rewriteText, textBytes, textModel, thrownBy } from '../support/models';
import { asHeads, lambdaIn, parameter } from '../support/reference';
import { expectClose, floatTensor, largestDifference, runModel, type Tensor } from '../support/run';

interface PutTogether {
  readonly what: string;
  readonly change: readonly (readonly [string, string])[];
  /** Suffix of the second weight of each weight of queries and keys. */
  readonly second: Readonly<Record<string, string>>;
  /** What each key weighs, put together by hand. */
  readonly weighed: (values: Record<string, Tensor | undefined>) => readonly number[];
  /** Values that `weighed` needs. */
  readonly needs: readonly string[];
  readonly keys: number;
  /** Heads and widths as found, where the scores have more columns than the values. */
  readonly found?: string;
}

const [B, H, S, D, E] = [2, 2, 3, 4, 8];
const weight = (name: string) => `"layers.0.attn.${name}.weight"`;
const plainSecond = { q_proj: 'q2_proj.weight', k_proj: 'k2_proj.weight' };
const further = (...names: string[]) =>
  [
    '  float scale',
    `  ${names.map((name) => `float[8, 8] ${weight(name)} = {...}`).join(', ')},\n  float scale`,
  ] as const;
/** A further projection with heads, as keys or as queries and values. */
const projected = (name: string, value: string, perm: string) =>
  `["${name}"] ${value}0 = MatMul (x, ${weight(name)})
  ["${name}_split"] ${value}1 = Reshape (${value}0, split)
  ["${name}_heads"] ${value} = Transpose <perm = [${perm}]> (${value}1)`;
const heads = (tensor: Tensor | undefined) => asHeads(tensor, B, H).data;

const cases: readonly PutTogether[] = [
  {
    what: 'relative positions beside the values',
    change: [
      ['  float scale', '  float[3, 4] positions = {...},\n  float scale'],
      [
        line('attended'),
        '["attended"] C1 = MatMul (A, V)\n["placed"] C2 = MatMul (A, positions)\n["sum"] C = Add (C1, C2)',
      ],
    ],
    second: plainSecond,
    needs: ['V', 'C1', 'C'],
    // Each key has its position, whatever the query: what is added is the same for all.
    weighed: ({ V, positions }) => {
      const added = heads(positions);
      return Array.from(heads(V), (value, at) => value + (added[at % (S * D)] ?? 0));
    },
    keys: S,
  },
  {
    what: 'keys of two kinds, whose probabilities are cut apart',
    change: [
      further('g_proj', 'gv_proj'),
      [line('softmax'), ''],
      [line('scaled'), ''],
      [
        line('scores'),
        `${projected('g_proj', 'G', '0, 2, 3, 1')}
        ${projected('gv_proj', 'W', '0, 2, 1, 3')}
        ["local"] raw1 = MatMul (Q, K)
        ["global"] raw2 = MatMul (Q, G)
        ["side_by_side"] raw = Concat <axis = -1> (raw1, raw2)
        ["scaled"] S = Mul (raw, scale)
        ["softmax"] A = Softmax <axis = -1> (S)
        ["cut"] A1, A2 = Split <axis = -1> (A, halves)`,
      ],
      ['  int64[4] split', '  int64[2] halves = {3, 3}, int64[4] split'],
      [
        line('attended'),
        '["attended"] C1 = MatMul (A1, V)\n["attended_global"] C2 = MatMul (A2, W)\n["sum"] C = Add (C1, C2)',
      ],
    ],
    second: { ...plainSecond, g_proj: 'k2_proj.1.weight' },
    needs: ['V', 'W'],
    weighed: ({ V, W }) => {
      const [first, second] = [heads(V), heads(W)];
      const size = S * D;
      return Array.from({ length: B * H }, (_, head) => [
        ...first.slice(head * size, (head + 1) * size),
        ...second.slice(head * size, (head + 1) * size),
      ]).flat();
    },
    keys: 2 * S,
  },
  {
    what: 'scores that are the sum of two products, as those of rotated and of other columns',
    change: [
      further('qr_proj', 'kr_proj'),
      [
        line('scores'),
        `${projected('qr_proj', 'QR', '0, 2, 1, 3')}
        ${projected('kr_proj', 'KR', '0, 2, 3, 1')}
        ["scores"] raw1 = MatMul (Q, K)
        ["rotated"] raw2 = MatMul (QR, KR)
        ["sum"] raw = Add (raw1, raw2)`,
      ],
    ],
    second: { ...plainSecond, qr_proj: 'q2_proj.1.weight', kr_proj: 'k2_proj.1.weight' },
    needs: ['V'],
    weighed: ({ V }) => Array.from(heads(V)),
    keys: S,
    found: '2/2 x 8, 4',
  },
  {
    what: 'keys and values that a further layer combines to fewer, along the sequence',
    change: [
      ['  float scale', '  float[3, 2] fewer = {...},\n  float scale'],
      [line('k_heads'), `${line('k_heads').replace('K =', 'K0 =')}\n["fewer_keys"] K = MatMul (K0, fewer)`],
      [
        line('v_heads'),
        `["v_rows"] V0 = Transpose <perm = [0, 2, 3, 1]> (v_BSHD)
        ["fewer_values"] V1 = MatMul (V0, fewer)
        ["v_heads"] V = Transpose <perm = [0, 1, 3, 2]> (V1)`,
      ],
    ],
    second: plainSecond,
    needs: ['V'],
    weighed: ({ V }) => Array.from(heads(V)),
    keys: 2,
  },
  {
    what: 'scores beside a product of what the layer reads with itself, as of distances',
    change: [
      ['  float scale', '  float[8, 8] before = {...}, int64[1] one = {1},\n  float scale'],
      [line('k_proj'), line('k_proj').replace('(x,', '(r,')],
      [line('v_proj'), line('v_proj').replace('(x,', '(r,')],
      [
        line('q_proj'),
        `["before"] b = MatMul (x, before)
        ["residual"] r = Add (x, b)
        ["turned"] r_t = Transpose <perm = [0, 2, 1]> (r)
        ["near"] near = MatMul (r, r_t)
        ["nearness"] bias = Unsqueeze (near, one)
        ${line('q_proj').replace('(x,', '(r,')}`,
      ],
      [line('scores'), '["scores"] raw0 = MatMul (Q, K)\n["sum"] raw = Add (raw0, bias)'],
    ],
    second: plainSecond,
    needs: ['V'],
    weighed: ({ V }) => Array.from(heads(V)),
    keys: S,
  },
];

const x = floatTensor([B, S, E], randomFill(5)('x', B * S * E));

/** A filling with the second weights, which are stored [out, in], in the place of the model's own. */
function secondFill(second: PutTogether['second'], rewritten: Parameters<typeof parameter>[0]): Fill {
  return (name, count) => {
    const suffix = second[/^layers\.0\.attn\.(\w+)\.weight$/.exec(name)?.[1] ?? ''];
    if (suffix === undefined) return randomFill(0)(name, count);
    const stored = parameter(rewritten, suffix);
    return Array.from({ length: count }, (_, at) => stored[(at % E) * E + Math.floor(at / E)] ?? Number.NaN);
  };
}

describe.each(cases)('$what', ({ change, second, weighed, needs, keys, found = '2/2 x 4' }) => {
  const text = variant(ATTENTION, change);
  const path = modelPath(textBytes(text));
  const run = (model: Uint8Array, names: readonly string[]) =>
    runModel(exposing(model, names), { x }, { outputs: [...names] });

  test.each<{ settings: RewriteFileSettings; emit: string }>([
    { emit: 'as a function', settings: {} },
    { emit: 'inline', settings: { emit: 'inline' } },
  ])('duplicate heads, written $emit', async ({ settings }) => {
    const output = rewriteModel(path, { sublayerNorm: false, seed: 3, ...settings });
    expect(inWords(output.found)).toEqual({ sites: [`layers.0.attn: ${found}`], misses: [] });
    const lambda = lambdaIn(output.model);
    const positions = output.model.graph.values.get('positions') ? ['positions'] : [];
    const [first, other, actual] = await Promise.all([
      run(textBytes(text), ['A', ...needs]),
      run(textBytes(text, secondFill(second, output.model)), ['A']),
      run(rewrittenBytes(output).read(), ['C']),
    ]);
    const stored = positions.map((name): [string, Tensor] => [
      name,
      floatTensor([1, 1, S, D], randomFill(0)(name, S * D)),
    ]);
    const values = weighed({ ...first, ...Object.fromEntries(stored) });
    const [A1, A2] = [heads(first['A']), heads(other['A'])];
    const expected = Array.from({ length: B * H * S * D }, (_, at) => {
      const [row, w] = [Math.floor(at / D), at % D];
      const head = Math.floor(row / S);
      let sum = 0;
      for (let key = 0; key < keys; key++) {
        const map = (A1[row * keys + key] ?? 0) - lambda * (A2[row * keys + key] ?? 0);
        sum += map * (values[(head * keys + key) * D + w] ?? 0);
      }
      return sum;
    });
    expect(largestDifference(first['A'], other['A'])).toBeGreaterThan(1e-3);
    expectClose(actual, { C: floatTensor([B, H, S, D], expected) }, 1e-5);
  });
});

test('with split heads, one map that weighs several things is refused', () => {
  const [positions] = cases;
  const text = variant(ATTENTION, positions?.change ?? []);
  const error = thrownBy(() => rewriteText(text, { splitHeads: true }));
  expect(error).toMatchObject({ code: 'unrewritten', exitCode: 3 });
  expect(error.message).toContain('several-value-products');
});

describe('what is not linear in the map is not put together', () => {
  const [attended, sum] = ['["attended"] C1 = MatMul (A, V)\n', '["sum"] C = Add (C1, C2)'];
  const others: Record<string, string> = {
    'something that does not come from the map': `${attended}["placed"] C2 = MatMul (A, Q)\n["off"] C3 = Add (C1, Q)\n["sum"] C = Add (C3, C2)`,
    'the map times itself': `${attended}["square"] A2 = Mul (A, A)\n["placed"] C2 = MatMul (A2, V)\n${sum}`,
    'a product of the map with itself': `${attended}["placed"] A2 = MatMul (A, A)\n["again"] C2 = MatMul (A2, V)\n${sum}`,
    'a padding with ones': `${attended}["wide"] A2 = Pad (A, pads, scale)\n["placed"] C2 = MatMul (A2, V2)\n${sum}`,
  };
  test.each(Object.entries(others))('%s', (_what, nodes) => {
    const text = variant(ATTENTION, [
      [line('attended'), nodes],
      ['  float scale', '  int64[8] pads = {0, 0, 0, 0, 0, 0, 0, 1}, float[4, 4] V2 = {...},\n  float scale'],
    ]);
    expect(thrownBy(() => rewriteText(text))).toMatchObject({ code: 'unrewritten', exitCode: 3 });
  });
});

test('two softmaxes before one product with values are refused, each of them', () => {
  const text = variant(ATTENTION, [
    [
      line('softmax'),
      '["softmax"] A1 = Softmax <axis = -1> (S)\n["sharp"] S2 = Neg (S)\n["softmax2"] A2 = Softmax <axis = -1> (S2)\n["sum"] A = Add (A1, A2)',
    ],
  ]);
  expect(inWords(findAttention(textModel(text), passes.recognisers)).misses).toEqual([
    expect.stringMatching(/^several-softmaxes at softmax2: /),
    expect.stringMatching(/^several-softmaxes at softmax: /),
  ]);
});

describe('one set of query and key weights for two sets of values', () => {
  const text = variant(ATTENTION, [
    ['=> (float[B, S, 8] y)', '=> (float[B, S, 8] y, float[B, 2, S, 2] layout)'],
    [
      '  float scale',
      '  float[8, 4] "layers.0.attn.w_proj.weight" = {...}, int64[4] narrow = {0, 0, 2, 2},\n  float scale',
    ],
    [
      line('attended'),
      `${line('attended')}
      ["w_proj"] W0 = MatMul (x, "layers.0.attn.w_proj.weight")
      ["w_split"] W1 = Reshape (W0, narrow)
      ["w_heads"] W = Transpose <perm = [0, 2, 1, 3]> (W1)
      ["again"] S2 = Mul (S, scale)
      ["softmax2"] A2 = Softmax <axis = -1> (S2)
      ["attended2"] layout = MatMul (A2, W)`,
    ],
  ]);

  test.each<RewriteFileSettings>([{}, { splitHeads: true }])('is two attentions, with %p', (settings) => {
    const { layers, model } = rewriteText(text, settings);
    expect(layers.map(({ path }) => path)).toEqual(['layers.0.attn', 'layers.0.attn.attention1']);
    const times = settings.splitHeads ? 2 : 1;
    const widths = layers.map(({ path }) => parameter(model, 'subln.weight', path).length);
    expect(widths).toEqual([4 * times, 2 * times]);
  });
});
