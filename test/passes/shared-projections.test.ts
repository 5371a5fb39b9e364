/**
 * A projection that two attentions read: keys that layers share, queries of two sets of keys. The second projection is
 * made once, and named by the first attention.
 */
import * as path from 'node:path';
import {
  type RewriteFileSettings,
  rewriteModel,
  rewrittenBytes,
  writeRewritten,
} from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import type { Model } from '../../src/ir';
import { differentialAttention } from '../../src/verify/reference';
import { ATTENTION, line, variant } from '../support/attention-text';
import { randomFill, temporaryFolder } from '../support/fixtures';
import { exposing, modelPath, textBytes } from '../support/models';
import { asHeads, lambdaIn, parameter } from '../support/reference';
import { expectClose, floatTensor, runModel, type Tensor } from '../support/run';

const [B, S, E] = [2, 3, 8];
const x = floatTensor([B, S, E], randomFill(5)('x', B * S * E));

const weight = (layer: number, leaf: string) => `layers.${layer}.attn.${leaf}.weight`;

/** A second layer behind the first, which has its own projection of one side, and takes the other from the first. */
function second(own: 'q' | 'k'): string {
  const side =
    own === 'q'
      ? '["own_heads"] own = Transpose <perm = [0, 2, 1, 3]> (own_BSHD)\n["scores2"] raw2 = MatMul (own, K)'
      : '["own_heads"] own = Transpose <perm = [0, 2, 3, 1]> (own_BSHD)\n["scores2"] raw2 = MatMul (Q, own)';
  return variant(ATTENTION, [
    ['float[B, S, 8] y)', 'float[B, S, 8] z)'],
    [
      '  float scale',
      `  float[8, 8] "${weight(1, `${own}_proj`)}" = {...},\n  float[8, 8] "${weight(1, 'o_proj')}" = {...},\n  float scale`,
    ],
    [
      line('o_proj'),
      `${line('o_proj')}
  ["own_proj"] own0 = MatMul (y, "${weight(1, `${own}_proj`)}")
  ["own_split"] own_BSHD = Reshape (own0, split)
  ${side}
  ["scaled2"] S2 = Mul (raw2, scale)
  ["softmax2"] A_2 = Softmax <axis = -1> (S2)
  ["attended2"] C_2 = MatMul (A_2, V)
  ["join2"] C_BSHD_2 = Transpose <perm = [0, 2, 1, 3]> (C_2)
  ["merge2"] C_BSE_2 = Reshape (C_BSHD_2, merged)
  ["o_proj2"] z = MatMul (C_BSE_2, "${weight(1, 'o_proj')}")`,
    ],
  ]);
}

interface Shared {
  readonly what: string;
  readonly text: string;
  /** Parameter by the weight that it stands beside. */
  readonly beside: Readonly<Record<string, string>>;
}

const shared: readonly Shared[] = [
  {
    what: 'keys that two layers share',
    text: second('q'),
    beside: {
      [weight(0, 'q_proj')]: weight(0, 'q2_proj'),
      [weight(0, 'k_proj')]: weight(0, 'k2_proj'),
      [weight(1, 'q_proj')]: weight(1, 'q2_proj'),
    },
  },
  {
    what: 'queries that look at two sets of keys',
    text: second('k'),
    beside: {
      [weight(0, 'q_proj')]: weight(0, 'q2_proj'),
      [weight(0, 'k_proj')]: weight(0, 'k2_proj'),
      [weight(1, 'k_proj')]: weight(1, 'k2_proj'),
    },
  },
];

/** Values of a model whose weights are the second ones where `replaced` says so, given what flows between the layers. */
async function valuesOf(model: Uint8Array, names: readonly string[]) {
  return runModel(exposing(model, names), { x }, { outputs: [...names] });
}

function secondWeights(beside: Shared['beside'], model: Model, weights: readonly string[]) {
  const first = randomFill(0);
  return (name: string, count: number): ArrayLike<number> => {
    const stands = beside[name];
    if (stands === undefined || !weights.includes(name)) return first(name, count);
    const numbers = parameter(
      model,
      stands.replace(/^layers\.\d\.attn\./, ''),
      stands.slice(0, 'layers.0.attn'.length),
    );
    return Array.from({ length: count }, (_, at) => numbers[(at % 8) * 8 + Math.floor(at / 8)] ?? Number.NaN);
  };
}

describe.each(shared)('$what', ({ what, text, beside }) => {
  const file = modelPath(textBytes(text));

  test('have one second projection', () => {
    const { model, layers } = rewriteModel(file);
    expect(layers.map((layer) => [layer.path, layer.depth])).toEqual([
      ['layers.0.attn', 0],
      ['layers.1.attn', 1],
    ]);
    const added = [...model.graph.values.keys()].filter((name) => /[qk]2_proj\.weight$/.test(name));
    expect(added.sort()).toEqual(Object.values(beside).sort());
    const common = what.startsWith('keys') ? weight(0, 'k2_proj') : weight(0, 'q2_proj');
    expect(model.graph.values.get(common)?.readers).toHaveLength(1);
  });

  test.each([{}, { emit: 'inline' }] as const)('%j: both layers give what they must', async (settings) => {
    const output = rewriteModel(file, { ...settings, sublayerNorm: false, seed: 2 });
    const rewritten = await valuesOf(rewrittenBytes(output).read(), ['C', 'C_2', 'V']);
    // The first layer: nothing stands before it. The second: its own negative map, from what the first gives now.
    const all = Object.keys(beside);
    const plain = await valuesOf(textBytes(text), ['A', 'V', 'C']);
    const negative = await valuesOf(textBytes(text, secondWeights(beside, output.model, all)), ['A']);
    const attend = (map: Tensor | undefined, other: Tensor | undefined, layer: number) =>
      differentialAttention({
        lambda: lambdaIn(output.model, `layers.${layer}.attn`),
        mix: 1,
        norm: undefined,
        timesOneMinusLambdaInit: undefined,
        gain: 1,
        A1_BHST: asHeads(map, B, 2),
        A2_BHST: asHeads(other, B, 2),
        V_BHTD: asHeads(plain['V'], B, 2),
      });
    const first = attend(plain['A'], negative['A'], 0);
    const close = (actual: Tensor | undefined, data: Iterable<number>) =>
      expectClose({ C: actual as Tensor }, { C: floatTensor([B, 2, S, 4], data) }, 1e-5);
    close(rewritten['C'], first.data);
    // The second layer of the model by itself, fed with what the first one gives.
    const alone = variant(text, [
      ['(float[B, S, 8] x)', '(float[B, S, 8] x, float[B, 2, S, 4] C_given)'],
      ['= Transpose <perm = [0, 2, 1, 3]> (C)', '= Transpose <perm = [0, 2, 1, 3]> (C_given)'],
    ]);
    const C_given = floatTensor([B, 2, S, 4], first.data);
    const run = async (model: Uint8Array) =>
      (await runModel(exposing(model, ['A_2']), { x, C_given }, { outputs: ['A_2'] }))['A_2'];
    const [own, other] = [
      await run(textBytes(alone)),
      await run(textBytes(alone, secondWeights(beside, output.model, all))),
    ];
    // Between the layers stands the output projection, which is the same in both.
    close(rewritten['C_2'], attend(own, other, 1).data);
  });

  test.each<RewriteFileSettings>([{}, { init: 'preserve' }, { splitHeads: true }, { layers: '1' }])(
    '%j is verified',
    async (settings) => {
      const target = path.join(temporaryFolder(), 'rewritten.onnx');
      writeRewritten(rewriteModel(file, settings), target, true);
      const report = await verifyModels(file, target);
      expect(report.checks.flatMap(({ findings }) => findings)).toEqual([]);
      expect(report.passed).toBe(true);
    },
  );
});

test('shared keys with a cache: it is doubled once, and both layers read the halves', async () => {
  const text = variant(second('q'), [
    ['(float[B, S, 8] x)', '(float[B, S, 8] x, float[B, 2, P, 4] past)'],
    ['float[B, S, 8] z)', 'float[B, S, 8] z, float[B, 2, T, 4] present, float[B, 2, T, 4] values)'],
    [
      line('k_heads'),
      `["k_heads"] K_new = Transpose <perm = [0, 2, 1, 3]> (k_BSHD)
  ["cache"] present = Concat <axis = 2> (past, K_new)
  ["k_turn"] K = Transpose <perm = [0, 1, 3, 2]> (present)`,
    ],
    [
      line('v_heads'),
      `["v_heads"] V_new = Transpose <perm = [0, 2, 1, 3]> (v_BSHD)
  ["v_cache"] V = Concat <axis = 2> (past, V_new)
  ["v_shown"] values = Identity (V)`,
    ],
  ]);
  const file = modelPath(textBytes(text));
  const output = rewriteModel(file, {});
  const sizes = output.model.graph.inputs
    .find(({ name }) => name === 'past')
    ?.type?.tensorType?.shape?.dim.map(({ dimValue, dimParam }) => dimParam ?? Number(dimValue));
  expect(sizes).toEqual(['B', 4, 'P', 4]);
  const target = path.join(temporaryFolder(), 'cached.onnx');
  writeRewritten(output, target, true);
  const report = await verifyModels(file, target);
  expect(report.checks.flatMap(({ findings }) => findings)).toEqual([]);
  expect(report.passed).toBe(true);
});

test('queries and keys of one projection share the second one', async () => {
  const text = variant(ATTENTION, [
    [line('k_proj'), ''],
    [`  float[8, 8] "${weight(0, 'k_proj')}" = {...},\n`, ''],
    [line('k_split'), ''],
    ['(k_BSHD)', '(q_BSHD)'],
  ]);
  const file = modelPath(textBytes(text));
  const output = rewriteModel(file, { sublayerNorm: false });
  const added = [...output.model.graph.values.keys()].filter((name) => /[qk]2_proj\.weight$/.test(name));
  expect(added).toEqual([weight(0, 'q2_proj')]);
  const target = path.join(temporaryFolder(), 'tied.onnx');
  writeRewritten(output, target, true);
  expect((await verifyModels(file, target)).checks.flatMap(({ findings }) => findings)).toEqual([]);
  // Keys that stay as they are, of the projection of the queries.
  writeRewritten(rewriteModel(file, { preset: 'v2' }), target, true);
  expect((await verifyModels(file, target)).checks.flatMap(({ findings }) => findings)).toEqual([]);
  const fill = secondWeights({ [weight(0, 'q_proj')]: weight(0, 'q2_proj') }, output.model, [
    weight(0, 'q_proj'),
  ]);
  const [plain, negative, rewritten] = await Promise.all([
    valuesOf(textBytes(text), ['A', 'V']),
    valuesOf(textBytes(text, fill), ['A']),
    valuesOf(rewrittenBytes(output).read(), ['C']),
  ]);
  const expected = differentialAttention({
    lambda: lambdaIn(output.model),
    mix: 1,
    norm: undefined,
    timesOneMinusLambdaInit: undefined,
    gain: 1,
    A1_BHST: asHeads(plain['A'], B, 2),
    A2_BHST: asHeads(negative['A'], B, 2),
    V_BHTD: asHeads(plain['V'], B, 2),
  });
  expectClose({ C: rewritten['C'] as Tensor }, { C: floatTensor([B, 2, S, 4], expected.data) }, 1e-5);
});
