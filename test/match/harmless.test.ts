/**
 * What breaks a template and not an attention: rewritten, and right. The second map is that of the original with the second
 * weights in the place of its own query and key weights: a run that the rewriter has no part in.
 */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { splitDifferentialAttention } from '../../src/verify/reference';
import { ATTENTION, line, variant } from '../support/attention-text';
import { randomFill } from '../support/fixtures';
import { inWords } from '../support/found';
import { exposing, modelPath, textBytes } from '../support/models';
import { asHeads, lambdaIn, secondFill } from '../support/reference';
import {
  expectClose,
  floatTensor,
  largestDifference,
  numbersOf,
  runModel,
  type Tensors,
} from '../support/run';

interface Harmless {
  readonly what: string;
  readonly change: readonly (readonly [string, string])[];
  /** Further outputs, which must give what they gave. */
  readonly shown?: readonly string[];
}

const weight = (name: string) => `"layers.0.attn.${name}.weight"`;
const shows = (output: string) => ['=> (float[B, S, 8] y)', `=> (float[B, S, 8] y, ${output})`] as const;
const constant = (text: string) => ['  float scale', `  ${text},\n  float scale`] as const;
const fed = (input: string) => ['(float[B, S, 8] x)', `(float[B, S, 8] x, ${input})`] as const;

const cases: readonly Harmless[] = [
  {
    what: 'scores that are an output',
    change: [shows('float[B, 2, S, T] raw')],
    shown: ['raw'],
  },
  {
    what: 'queries and keys that others read',
    change: [
      shows('float[B, S, 8] gate, float n'),
      [line('q_heads'), `${line('q_heads')}\n  gate = Sigmoid (q)\n  n = ReduceSum <keepdims = 0> (K)`],
    ],
    shown: ['gate', 'n'],
  },
  {
    what: 'scores before the mask, which others read',
    change: [
      shows('float[B, 2, S, 1] best'),
      [line('scaled'), `${line('scaled')}\n  best = ReduceMax <axes = [-1]> (S)`],
    ],
    shown: ['best'],
  },
  {
    what: 'a scale that is fed',
    change: [fed('float scale'), ['  float scale = {0.5}', '  float unused = {0}']],
  },
  {
    what: 'a scale that is computed from what the layer reads',
    change: [
      [
        line('scaled'),
        '["temperature"] t = ReduceMean <keepdims = 0> (x)\n["hot"] heat = Exp (t)\n["scaled"] S = Mul (raw, heat)',
      ],
    ],
  },
  {
    what: 'a scale that is computed from the queries: of each component its own',
    change: [
      [
        line('scaled'),
        '["length"] norm = ReduceL2 <axes = [-1], keepdims = 1> (Q)\n["scaled"] S = Div (raw, norm)',
      ],
    ],
  },
  {
    what: 'a mask that depends on the queries, as relative positions of Shaw do',
    change: [
      constant('float[4, 3] positions = {...}'),
      [
        line('scaled'),
        `["relative"] bias = MatMul (Q, positions)\n["sum"] both = Add (raw, bias)\n${line('scaled').replace('(raw', '(both')}`,
      ],
    ],
  },
  {
    what: 'a mask that depends on the keys',
    change: [
      [
        line('scaled'),
        `${line('scaled').replace('S =', 'S0 =')}\n["strong"] strength = ReduceMax <axes = [-2], keepdims = 1> (K)\n["weak"] hide = Less (strength, scale)\n["masked"] S = Where (hide, far, S0)`,
      ],
      constant('float far = {-3}'),
    ],
  },
  {
    what: 'a mask that depends on what the layer reads',
    change: [
      [
        line('scaled'),
        `${line('scaled').replace('S =', 'S0 =')}\n["mean"] m = ReduceMean <axes = [-1], keepdims = 1> (x)\n["front"] bias = Unsqueeze (m, one)\n["masked"] S = Add (S0, bias)`,
      ],
      constant('int64[1] one = {1}'),
    ],
  },
  {
    what: 'values that are the queries',
    change: [
      [line('v_split'), ''],
      ['MatMul (A, V)', 'MatMul (A, Q)'],
      [line('v_heads'), '["v_heads"] V = Identity (Q)'],
      [line('v_proj'), ''],
      [`  float[8, 8] ${weight('v_proj')} = {...},\n`, ''],
    ],
  },
  {
    what: 'attended values that others read: the difference',
    change: [shows('float[B, 2, S, 4] copy'), [line('join'), `${line('join')}\n  copy = Identity (C)`]],
  },
  {
    what: 'projected queries that are an output',
    change: [shows('float[B, S, 8] q')],
    shown: ['q'],
  },
  {
    what: 'a softmax by the logarithm of the sum of exponentials',
    change: [
      [
        line('softmax'),
        '["sum"] total = ReduceLogSumExp <axes = [-1]> (S)\n["log"] logs = Sub (S, total)\n["softmax"] A = Exp (logs)',
      ],
    ],
  },
  {
    what: 'the same, written out, with the maximum taken off',
    change: [
      [
        line('softmax'),
        `["most"] m = ReduceMax <axes = [-1]> (S)
         ["off"] S0 = Sub (S, m)
         ["exp"] e = Exp (S0)
         ["total"] total = ReduceSum (e, last)
         ["log"] logarithm = Log (total)
         ["logs"] logs = Sub (S0, logarithm)
         ["softmax"] A = Exp (logs)`,
      ],
      constant('int64[1] last = {-1}'),
    ],
  },
  {
    what: 'exponentials over their norm, which is their sum',
    change: [
      [
        line('softmax'),
        '["exp"] e = Exp (S)\n["norm"] n = ReduceL1 <axes = [-1]> (e)\n["clip"] n1 = Max (n, tiny)\n["softmax"] A = Div (e, n1)',
      ],
      constant('float tiny = {1e-12}'),
    ],
  },
  {
    what: 'scores of the best keys alone',
    change: [
      [
        line('softmax'),
        `["best"] most, which = TopK (S, two)
         ["least"] least = ReduceMin <axes = [-1]> (most)
         ["worse"] hide = Less (S, least)
         ["masked"] S0 = Where (hide, far, S)
         ["softmax"] A = Softmax <axis = -1> (S0)`,
      ],
      constant('int64[1] two = {2}, float far = {-1e9}'),
    ],
  },
  {
    what: 'a softmax over the best keys, whose probabilities are put back in their places',
    change: [
      [
        line('softmax'),
        `["best"] most, which = TopK (S, two)
         ["softmax"] p = Softmax <axis = -1> (most)
         ["nothing"] none = Sub (S, S)
         ["back"] A = ScatterElements <axis = -1> (none, which, p)`,
      ],
      constant('int64[1] two = {2}'),
    ],
  },
  {
    what: 'probabilities that are sharpened and normalised again',
    change: [
      [
        line('softmax'),
        `["softmax"] p = Softmax <axis = -1> (S)
         ["sharp"] p2 = Pow (p, power)
         ["total"] total = ReduceSum (p2, last)
         ["again"] A = Div (p2, total)`,
      ],
      constant('float power = {2}, int64[1] last = {-1}'),
    ],
  },
];

const [B, S, E] = [2, 3, 8];
const x = floatTensor([B, S, E], randomFill(5)('x', B * S * E));
const feeds: Tensors = { x, scale: floatTensor([], [0.7]) };
const queries = { weight: 'layers.0.attn.q_proj.weight', columns: 8, order: [0, 1, 2, 3, 4, 5, 6, 7] };
const sides = { query: queries, key: { ...queries, weight: 'layers.0.attn.k_proj.weight' } };

async function valuesOf(model: Uint8Array, names: readonly string[]) {
  return runModel(exposing(model, names), feeds, { outputs: [...names] });
}

describe.each(cases)('$what', ({ change, shown = [] }) => {
  const text = variant(ATTENTION, change);
  const path = modelPath(textBytes(text));
  const rewrite = (settings: RewriteFileSettings) =>
    rewriteModel(path, { sublayerNorm: false, seed: 3, ...settings });

  test('duplicate heads', async () => {
    const output = rewrite({});
    expect(inWords(output.found)).toEqual({ sites: ['layers.0.attn: 2/2 x 4'], misses: [] });
    const lambda = lambdaIn(output.model);
    const [first, second, difference] = await Promise.all([
      valuesOf(textBytes(text), ['A', 'V', 'C', ...shown]),
      valuesOf(textBytes(text, secondFill(sides, output.model, E)), ['A', 'V']),
      valuesOf(rewrittenBytes(output).read(), ['C', ...shown]),
    ]);
    const A1 = asHeads(first['A'], B, 2).data;
    const A2 = asHeads(second['A'], B, 2).data;
    const V = asHeads(first['V'], B, 2).data;
    const C = Array.from({ length: B * 2 * S * 4 }, (_, at) => {
      const [row, w] = [Math.floor(at / 4), at % 4];
      const head = Math.floor(row / S);
      let sum = 0;
      for (let j = 0; j < S; j++) {
        const map = (A1[row * S + j] ?? 0) - lambda * (A2[row * S + j] ?? 0);
        sum += map * (V[(head * S + j) * 4 + w] ?? 0);
      }
      return sum;
    });
    expect(largestDifference(first['A'], second['A'])).toBeGreaterThan(1e-3);
    expectClose(difference, { C: floatTensor([B, 2, S, 4], C) }, 1e-5);
    for (const name of shown) expect(numbersOf(difference[name])).toEqual(numbersOf(first[name]));
  });

  test('split heads', async () => {
    const output = rewrite({ splitHeads: true });
    const [original, rewritten] = await Promise.all([
      valuesOf(textBytes(text), ['A', 'V', ...shown]),
      valuesOf(rewrittenBytes(output).read(), ['C', ...shown]),
    ]);
    const expected = splitDifferentialAttention({
      A_BHST: asHeads(original['A'], B, 2),
      V_BGTD: asHeads(original['V'], B, 2),
      pairing: 'halves',
      lambda: lambdaIn(output.model),
      mix: 1,
      norm: undefined,
      timesOneMinusLambdaInit: undefined,
      gain: 1,
    });
    expectClose(rewritten, { C: floatTensor([B, 2, S, 4], expected.data) }, 1e-5);
    for (const name of shown) expect(numbersOf(rewritten[name])).toEqual(numbersOf(original[name]));
  });
});
