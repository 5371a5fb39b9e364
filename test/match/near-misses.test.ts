/**
 * What is almost an attention: the reason that is given, the node that it names, and that nothing is changed. A failed
 * match is as much of a product as a rewrite (DESIGN, idea 5).
 */
import { passes } from '../../passes';
import { findAttention } from '../../src/attention/find';
import type { ReasonCode } from '../../src/match/outcome';
import { resolveOptions } from '../../src/rewrite/options';
import { runRewrite } from '../../src/rewrite/run';
import { ATTENTION, line, variant } from '../support/attention-text';
import { inWords } from '../support/found';
import { modelText, rewriteText, textModel, thrownBy } from '../support/models';

interface NearMiss {
  readonly what: string;
  readonly code: ReasonCode;
  /** Name of the node that the reason points at. */
  readonly node: string;
  /** What the reason says was found. */
  readonly says: string | RegExp;
  readonly change: readonly (readonly [string, string])[];
}

const weight = (name: string) => `"layers.0.attn.${name}.weight"`;
const declared = (name: string) => `  float[8, 8] ${weight(name)} = {...},\n`;

const nearMisses: readonly NearMiss[] = [
  {
    what: 'a softmax over heads',
    code: 'softmax-axis',
    node: 'softmax',
    says: 'axis 1 of 4 axes',
    change: [['Softmax <axis = -1>', 'Softmax <axis = 1>']],
  },
  {
    what: 'probabilities that are rounded, and seen before they are',
    code: 'probabilities-escape',
    node: 'softmax',
    says: 'it is an output of the graph',
    change: [
      ['=> (float[B, S, 8] y)', '=> (float[B, S, 8] y, float[B, 2, S, T] wide)'],
      [
        line('softmax'),
        '["softmax"] wide = Softmax <axis = -1> (S)\n["round"] narrow = Cast <to = 10> (wide)\n["widen"] A = Cast <to = 1> (narrow)',
      ],
    ],
  },
  {
    what: 'probabilities that another node reads before they are guarded',
    code: 'probabilities-escape',
    node: 'softmax',
    says: "'entropy' reads it",
    change: [
      ['=> (float[B, S, 8] y)', '=> (float[B, S, 8] y, float[B, 2, S, T] e)'],
      [
        line('softmax'),
        '["softmax"] raw_A = Softmax <axis = -1> (S)\n["entropy"] e = Log (raw_A)\n["isnan"] bad = IsNaN (raw_A)\n["guard"] A = Where (bad, scale, raw_A)',
      ],
    ],
  },
  {
    what: 'a query weight that is fed',
    code: 'no-score-product',
    node: 'softmax',
    says: "'scores'",
    change: [
      [declared('q_proj'), ''],
      ['(float[B, S, 8] x)', `(float[B, S, 8] x, float[8, 8] ${weight('q_proj')})`],
    ],
  },
  {
    what: 'a key weight that is computed from data',
    code: 'no-score-product',
    node: 'softmax',
    says: "'scores'",
    change: [
      [
        line('k_proj'),
        `["gate"] g1 = ReduceMean <keepdims = 0> (x)\n["gated"] wk = Mul (${weight('k_proj')}, g1)\n["k_proj"] k = MatMul (x, wk)`,
      ],
    ],
  },
  {
    what: 'queries that are an input of the graph',
    code: 'no-score-product',
    node: 'softmax',
    says: "'scores'",
    change: [
      ['(float[B, S, 8] x)', '(float[B, S, 8] x, float[B, S, 8] q)'],
      [line('q_proj'), ''],
      [declared('q_proj'), ''],
    ],
  },
  {
    what: 'one query head for two key heads',
    code: 'heads-do-not-divide',
    node: 'scores',
    says: '1 heads of width 4, 2 key heads of width 4',
    change: [
      [declared('q_proj'), `  float[8, 4] ${weight('q_proj')} = {...},\n  int64[4] one = {0, 0, 1, 4},\n`],
      ['Reshape (q, split)', 'Reshape (q, one)'],
    ],
  },
  {
    what: 'two products with values',
    code: 'several-value-products',
    node: 'attended_again',
    says: "'attended', 'attended_again'",
    change: [
      ['=> (float[B, S, 8] y)', '=> (float[B, S, 8] y, float[B, 2, S, 4] C2)'],
      [line('attended'), `${line('attended')}\n["attended_again"] C2 = MatMul (A, Q)`],
    ],
  },
  {
    what: 'probabilities that are bent',
    code: 'no-value-product',
    node: 'softmax',
    says: 'none',
    change: [[line('softmax'), '["softmax"] A0 = Softmax <axis = -1> (S)\n["sine"] A = Sin (A0)']],
  },
  {
    what: 'queries that are the sum of two linear layers, which the values are projected from as well',
    code: 'several-projections',
    node: 'v_proj',
    says: "'v_proj' projects what they give",
    change: [
      [
        line('q_proj'),
        `["q_base"] q0 = MatMul (x, ${weight('q_proj')})
         ["lora"] q1 = MatMul (x, ${weight('v_proj')})
         ["q_sum"] q = Add (q0, q1)`,
      ],
      [line('v_proj'), line('v_proj').replace('(x,', '(q,')],
    ],
  },
  {
    what: 'a linear layer that scales',
    code: 'projection-form',
    node: 'q_proj',
    says: 'a product with transposed or scaled operands',
    change: [
      [
        line('q_proj'),
        `["flat"] x2 = Reshape (x, flat)\n["q_proj"] q2 = Gemm <alpha: float = 2.0> (x2, ${weight('q_proj')})\n["back"] q = Reshape (q2, like)`,
      ],
      ['  float scale', '  int64[2] flat = {-1, 8}, int64[3] like = {1, -1, 8},\n  float scale'],
    ],
  },
  {
    what: 'a shape that only the run knows',
    code: 'operator-form',
    node: 'attended',
    says: 'MatMul',
    change: [
      ['(float[B, S, 8] x)', '(float[B, S, 8] x, int64[4] shape)'],
      ['Reshape (q, split)', 'Reshape (q, shape)'],
    ],
  },
  {
    what: 'one head, without an axis for it',
    code: 'heads-unknown',
    node: 'scores',
    says: '2 axes',
    change: [
      ['(float[B, S, 8] x) => (float[B, S, 8] y)', '(float[S, 8] x) => (float[S, 8] y)'],
      ...['q', 'k', 'v'].map((each) => [line(`${each}_split`), ''] as const),
      [line('q_heads'), '["q_heads"] Q = Identity (q)'],
      [line('k_heads'), '["k_heads"] K = Transpose <perm = [1, 0]> (k)'],
      [line('v_heads'), '["v_heads"] V = Identity (v)'],
      [line('join'), ''],
      [line('merge'), '["merge"] C_BSE = Identity (C)'],
    ],
  },
  {
    what: 'two sets of keys that are fed',
    code: 'several-score-products',
    node: 'softmax',
    says: "'scores2', 'scores1'",
    change: [
      ['(float[B, S, 8] x)', '(float[B, S, 8] x, float[B, 2, 4, T] K, float[B, 2, 4, T] K2)'],
      [line('k_proj'), ''],
      [line('k_split'), ''],
      [line('k_heads'), ''],
      [declared('k_proj'), ''],
      [
        line('scores'),
        '["scores1"] raw1 = MatMul (Q, K)\n["scores2"] raw2 = MatMul (Q, K2)\n["scores"] raw = Add (raw1, raw2)',
      ],
    ],
  },
  {
    what: 'a product of queries and keys beside one whose keys are cached',
    code: 'cache',
    node: 'scores2',
    says: "'past' beside other products",
    change: [
      ['(float[B, S, 8] x)', '(float[B, S, 8] x, float[B, 2, 4, P] past)'],
      [
        line('scores'),
        `["scores1"] raw1 = MatMul (Q, K)
         ["joined"] K2 = Concat <axis = -1> (past, K)
         ["scores2"] raw2 = MatMul (Q, K2)
         ["scores"] raw = Concat <axis = -1> (raw1, raw2)`,
      ],
      [
        line('v_heads'),
        `${line('v_heads').replace('V =', 'V0 =')}\n["all_values"] V = Concat <axis = 2> (V0, V0)`,
      ],
    ],
  },
  {
    what: 'exponentials that are normalised behind the product with values',
    code: 'operator-form',
    node: 'normalised',
    says: 'divided behind it',
    change: [
      [line('softmax'), 'e = Exp (S)\n  total = ReduceSum (e, last)'],
      [line('attended'), 'weighed = MatMul (e, V)\n  ["normalised"] C = Div (weighed, total)'],
      ['  float scale', '  int64[1] last = {-1},\n  float scale'],
    ],
  },
  {
    what: 'an attention operator that nobody has described',
    code: 'no-recogniser',
    node: 'attended',
    says: 'SparseAttention',
    change: [
      [line('attended'), '["attended"] C = com.microsoft.SparseAttention (Q, K, V)'],
      [line('softmax'), ''],
    ],
  },
  {
    what: 'queries that come out of an If',
    code: 'control-flow',
    node: 'choose',
    says: 'If',
    change: [
      ['(float[B, S, 8] x)', '(float[B, S, 8] x, bool c)'],
      [
        line('q_proj'),
        `["choose"] q = If (c) <
          then_branch: graph = t () => (float[B, S, 8] a) { a = MatMul (x, ${weight('q_proj')}) },
          else_branch: graph = e () => (float[B, S, 8] b) { b = Identity (x) }
        >`,
      ],
    ],
  },
  {
    what: 'a key weight that is scaled by another constant',
    code: 'weight-not-constant',
    node: 'k_proj',
    says: "'gated'",
    change: [
      [line('k_proj'), `["gated"] wk = Mul (${weight('k_proj')}, scale)\n["k_proj"] k = MatMul (x, wk)`],
    ],
  },
  {
    what: 'columns of a packed layer that are normed as a whole',
    code: 'columns-mixed',
    node: 'uneven',
    says: 'LayerNormalization',
    change: [
      [
        line('q_proj'),
        `["packed"] qk = MatMul (x, both)\n["uneven"] qk2 = LayerNormalization (qk, each)\n["parts"] q, k = Split <axis = -1> (qk2)`,
      ],
      [line('k_proj'), ''],
      ['  float scale', '  float[8, 16] both = {...}, float[16] each = {...},\n  float scale'],
    ],
  },
];

test.each(nearMisses)('$what: $code', ({ code, node, says, change }) => {
  const text = variant(ATTENTION, change);
  const model = textModel(text);
  const before = modelText(model);
  const found = findAttention(model, passes.recognisers);
  expect(inWords(found)).toEqual({
    sites: [],
    misses: [expect.stringMatching(`^${code} at ${node}: `)],
  });
  expect(found.misses[0]?.reason.found).toMatch(says);

  const inputs = { sourceHash: () => '', version: 'test' };
  const error = thrownBy(() => runRewrite(model, passes, resolveOptions({}), inputs));
  expect(error).toMatchObject({ code: 'unrewritten', exitCode: 3 });
  expect(error.message).toMatch(/1 of 1 attentions not understood, nothing written: /);
  for (const part of [code, `'${node}'`, 'wanted ', 'found ']) expect(error.message).toContain(part);
  expect(modelText(model)).toBe(before);
});

test('there is a near miss for every reason that written-out attention can fail with', () => {
  expect(nearMisses.length).toBeGreaterThanOrEqual(15);
  expect([...new Set(nearMisses.map(({ code }) => code))].length).toBeGreaterThanOrEqual(14);
});

test('the attention that they are variants of is found', () => {
  const found = findAttention(textModel(ATTENTION), passes.recognisers);
  expect(inWords(found)).toEqual({ sites: ['layers.0.attn: 2/2 x 4'], misses: [] });
  expect(found.sites[0]?.traits.scale).toBe('0.5');
});

describe('attentions that are understood beside one that is not', () => {
  const [broken = ''] =
    variant(ATTENTION, [['Softmax <axis = -1>', 'Softmax <axis = 1>']]).match(/\{\n.*\}/s) ?? [];
  const [sound = ''] = ATTENTION.match(/\{\n.*\}/s) ?? [];
  /** Two layers, the second of which is broken. */
  const [header = ''] = ATTENTION.split('> {\n  ["q_proj"]');
  const second = (nodes: string) =>
    nodes
      .replaceAll(/\["(\w+)"\]/g, '["second_$1"]')
      .replaceAll(/\b(q|k|v|[qkv]_BSHD|Q|K|V|raw|S|A|C|C_BSHD|C_BSE|y)\b(?=[ ,)])(?! =>)/g, '$1$1')
      .replaceAll('(x,', '(y,');
  const text = `${header.replace('[B, S, 8] y', '[B, S, 8] yy')}> ${sound.slice(0, -1)}${second(broken.slice(1))}`;

  test('are rewritten only with permission', () => {
    expect(thrownBy(() => rewriteText(text))).toMatchObject({ code: 'unrewritten', exitCode: 3 });
    const { layers, left } = rewriteText(text, { allowPartial: true });
    expect(layers).toHaveLength(1);
    expect(left.map(({ reason }) => reason.node.name)).toEqual(['second_softmax']);
  });
});

describe('a softmax that is no attention is never a candidate', () => {
  const softmaxes: Record<string, string> = {
    'a classifier': `
      logits = MatMul (x, w)
      y = Softmax <axis = -1> (logits)`,
    'a router of experts, whose probabilities weigh their outputs': `
      gates = MatMul (x, w)
      p = Softmax <axis = -1> (gates)
      row = Unsqueeze (p, two)
      first = MatMul (x, e1)
      second = MatMul (x, e2)
      f = Unsqueeze (first, two)
      s = Unsqueeze (second, two)
      experts = Concat <axis = 2> (f, s, f, s)
      mixed = MatMul (row, experts)
      y = Squeeze (mixed, two)`,
    'a router that picks the best and weighs them': `
      gates = MatMul (x, w)
      p = Softmax <axis = -1> (gates)
      best, which = TopK <axis = -1> (p, k)
      out = MatMul (x, e1)
      weight = ReduceMax <axes = [-1]> (best)
      y = Mul (out, weight)`,
    'similarities of two embeddings, as CLIP gives them': `
      text = MatMul (x, e1)
      image = MatMul (x, e2)
      image_t = Transpose <perm = [0, 2, 1]> (image)
      logits = MatMul (text, image_t)
      y = Softmax <axis = -1> (logits)`,
    'pooling by a learned vector': `
      score = MatMul (x, column)
      p = Softmax <axis = 1> (score)
      p_t = Transpose <perm = [0, 2, 1]> (p)
      y = MatMul (p_t, x)`,
    'sampling from logits': `
      logits = MatMul (x, w)
      scaled = Mul (logits, temperature)
      p = Softmax <axis = -1> (scaled)
      y = CumSum (p, two_scalar)`,
  };
  test.each(Object.entries(softmaxes))('%s', (_what, nodes) => {
    const text = `g (float[B, S, 8] x) => (float[B, S, N] y) <
      float[8, 4] w = {...}, float[8, 8] e1 = {...}, float[8, 8] e2 = {...}, float[8, 1] column = {...}, int64[1] two = {2},
      int64 two_scalar = {2}, int64[1] k = {2}, float temperature = {0.7}
    > {${nodes}}`;
    const found = findAttention(textModel(text), passes.recognisers);
    expect(inWords(found)).toEqual({ sites: [], misses: [] });
    expect(found.analysis.candidates.map(({ anchor }) => anchor.label)).toEqual([]);
    expect(thrownBy(() => rewriteText(text))).toMatchObject({ code: 'no-attention', exitCode: 3 });
  });

  test('nor beside an attention', () => {
    const text = variant(ATTENTION, [
      ['=> (float[B, S, 8] y)', '=> (float[B, S, 8] y, float[B, S, 8] classes)'],
      [
        line('o_proj'),
        `${line('o_proj')}\n logits = MatMul (y, ${weight('v_proj')})\n classes = Softmax <axis = -1> (logits)`,
      ],
    ]);
    expect(inWords(findAttention(textModel(text), passes.recognisers))).toEqual({
      sites: ['layers.0.attn: 2/2 x 4'],
      misses: [],
    });
  });
});

describe('what is understood, and cannot be written: refused, and the model is as it was', () => {
  const refused: Record<string, { change: readonly (readonly [string, string])[]; says: readonly string[] }> =
    {
      'projected keys that are an output, with heads and widths on one axis': {
        change: [['=> (float[B, S, 8] y)', '=> (float[B, S, 8] y, float[B, S, 8] k)']],
        says: ['cache', "'k_proj'", 'a present with heads on an axis of its own'],
      },
    };
  test.each(Object.entries(refused))('%s', (_what, { change, says }) => {
    const model = textModel(variant(ATTENTION, change));
    const before = modelText(model);
    const inputs = { sourceHash: () => '', version: 'test' };
    const error = thrownBy(() => runRewrite(model, passes, resolveOptions({}), inputs));
    expect(error).toMatchObject({ code: 'unrewritten', exitCode: 3 });
    for (const part of says) expect(error.message).toContain(part);
    expect(modelText(model)).toBe(before);
  });
});
