/**
 * Lowerings behind the operator `Attention` of opset 23: there are no maps to see, so the float64 reference computes them
 * from the queries and keys that reach the operator.
 */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import {
  type Array64,
  array64,
  differentialAttention,
  repeatHeads,
  scores,
  softmax,
  splitDifferentialAttention,
} from '../../src/verify/reference';
import { forms } from '../support/attention-forms';
import { ATTENTION, line, variant } from '../support/attention-text';
import { randomFill } from '../support/fixtures';
import { inWords } from '../support/found';
import { exposing, modelPath, rewriteText, textBytes, thrownBy } from '../support/models';
import { asHeads, lambdaIn, secondFill } from '../support/reference';
import { expectClose, floatTensor, runModel, type Tensor } from '../support/run';

const EPSILON = 1e-3;
const [B, S, E] = [2, 3, 8];
const x = floatTensor([B, S, E], randomFill(5)('x', B * S * E));
const [separate] = forms;
if (!separate) throw new Error('no form');

interface OperatorForm {
  readonly what: string;
  readonly text: string;
  readonly heads: number;
  readonly kvHeads: number;
  readonly scale: number;
  /** Added to the scores, [S, T]. */
  readonly bias?: readonly number[];
}

const never = Number.NEGATIVE_INFINITY;
const causal = [0, never, never, 0, 0, never, 0, 0, 0];
const opset23 = ['opset_import: ["" : 17,', 'opset_import: ["" : 23,'] as const;
const four = ['split = {0, 0, 2, 4}', 'split = {0, 0, 4, 2}, int64[4] few = {0, 0, 2, 2}'] as const;
const narrow = (name: string) =>
  [`float[8, 8] "layers.0.attn.${name}.weight"`, `float[8, 4] "layers.0.attn.${name}.weight"`] as const;

/** The operator in the place of scores, softmax and product. */
function operator(call: string, change: readonly (readonly [string, string])[] = []): string {
  return variant(ATTENTION, [
    opset23,
    [line('k_heads'), '["k_heads"] K = Transpose <perm = [0, 2, 1, 3]> (k_BSHD)'],
    [line('scores'), ''],
    [line('scaled'), ''],
    [line('softmax'), ''],
    [line('attended'), `["attended"] C = ${call}`],
    ...change,
  ]);
}

const operators: readonly OperatorForm[] = [
  { what: 'plain', text: operator('Attention (Q, K, V)'), heads: 2, kvHeads: 2, scale: 0.5 },
  {
    what: 'with a scale of its own, causal',
    text: operator('Attention <scale: float = 0.25, is_causal = 1> (Q, K, V)'),
    heads: 2,
    kvHeads: 2,
    scale: 0.25,
    bias: causal,
  },
  {
    what: 'with a mask',
    text: operator('Attention (Q, K, V, mask)', [
      ['  float scale', '  float[3, 3] mask = {0, 1, -2, 0.5, 0, 1, -1, 0, 0},\n  float scale'],
    ]),
    heads: 2,
    kvHeads: 2,
    scale: 0.5,
    bias: [0, 1, -2, 0.5, 0, 1, -1, 0, 0],
  },
  {
    what: 'with grouped keys and values',
    text: operator('Attention (Q, K, V)', [
      four,
      narrow('k_proj'),
      narrow('v_proj'),
      ['Reshape (k, split)', 'Reshape (k, few)'],
      ['Reshape (v, split)', 'Reshape (v, few)'],
    ]),
    heads: 4,
    kvHeads: 2,
    scale: 1 / Math.sqrt(2),
  },
];

const modes: readonly RewriteFileSettings[] = [
  { sublayerNorm: false },
  { normEps: EPSILON, emit: 'inline' },
  { splitHeads: true, sublayerNorm: false },
  { splitHeads: true, normEps: EPSILON },
];

describe.each(operators)('$what', (form) => {
  const { text, heads, kvHeads, scale, bias } = form;
  const path = modelPath(textBytes(text));
  const names = ['Q', 'K', 'V', 'C'];

  /** The map of the queries and keys of a run. */
  function mapOf(Q: Tensor | undefined, K: Tensor | undefined): Array64 {
    const K_BHTD = repeatHeads(asHeads(K, B, kvHeads), heads);
    return softmax(scores(asHeads(Q, B, heads), K_BHTD, scale, bias && array64([S, S], bias)));
  }

  test('is found', () => {
    expect(inWords(rewriteModel(path).found)).toEqual({
      sites: [`layers.0.attn: ${heads}/${kvHeads} x ${E / heads}`],
      misses: [],
    });
  });

  test.each(modes)('%j', async (settings) => {
    const output = rewriteModel(path, { ...settings, seed: 3 });
    const run = (bytes: Uint8Array, wanted: readonly string[]) =>
      runModel(exposing(bytes, wanted), { x }, { outputs: wanted });
    const original = await run(textBytes(text), names);
    const parameters = {
      lambda: lambdaIn(output.model),
      mix: 1,
      norm: settings.sublayerNorm === false ? undefined : { eps: EPSILON },
      timesOneMinusLambdaInit: undefined,
      gain: 1,
    };
    const map = mapOf(original['Q'], original['K']);
    const V_BGTD = asHeads(original['V'], B, kvHeads);
    let expected: Array64;
    if (settings.splitHeads) {
      expected = splitDifferentialAttention({ ...parameters, A_BHST: map, V_BGTD, pairing: 'halves' });
    } else {
      const width = kvHeads * (E / heads);
      const order = Array.from({ length: width }, (_, i) => i);
      const key = { ...separate.key, columns: width, order };
      const negative = textBytes(text, secondFill({ query: separate.query, key }, output.model, E));
      const { Q, K } = await run(negative, names);
      const V_BHTD = repeatHeads(V_BGTD, heads);
      expected = differentialAttention({ ...parameters, A1_BHST: map, A2_BHST: mapOf(Q, K), V_BHTD });
    }
    const { C } = await run(rewrittenBytes(output).read(), ['C']);
    expectClose({ C: C as Tensor }, { C: floatTensor(C?.shape ?? [], expected.data) }, 1e-5);
  });
});

test('an operator that gives the scores as well is not understood', () => {
  const text = variant(operator('Attention (Q, K, V)'), [
    ['=> (float[B, S, 8] y)', '=> (float[B, S, 8] y, float[B, 2, S, S] qk)'],
    ['["attended"] C =', '["attended"] C, "", "", qk ='],
  ]);
  const error = thrownBy(() => rewriteText(text));
  expect(error).toMatchObject({ code: 'unrewritten', exitCode: 3 });
  expect(error.message).toContain("'attended': operator-form: wanted no output of scores, found 'qk'");
});
