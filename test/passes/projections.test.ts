/**
 * Linear layers in every form: several behind one side, weights that are laid out before they are read, Einsum, one
 * matrix for each head, convolutions. The second map is computed by the model itself, with the new parameters in the
 * place of its own.
 */
import * as path from 'node:path';
import {
  type RewriteFileSettings,
  rewriteModel,
  rewrittenBytes,
  writeRewritten,
} from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import type { Fill } from '../../src/ir/text';
import { type Array64, differentialAttention, splitDifferentialAttention } from '../../src/verify/reference';
import { ATTENTION, line, variant } from '../support/attention-text';
import { randomFill, temporaryFolder } from '../support/fixtures';
import { inWords } from '../support/found';
import { exposing, modelPath, textBytes } from '../support/models';
import {
  type ProjectionForm,
  packedForms,
  severalProjections,
  weightForms,
} from '../support/projection-forms';
import { asHeads, lambdaIn, parameter } from '../support/reference';
import { expectClose, floatTensor, runModel, type Tensor } from '../support/run';

const [B, S, E] = [2, 3, 8];
const x = floatTensor([B, S, E], randomFill(5)('x', B * S * E));
const NAMES = ['A', 'V', 'C'];

async function valuesOf(model: Uint8Array, names: readonly string[] = NAMES) {
  return runModel(exposing(model, names), { x }, { outputs: [...names] });
}

/** The model's own weights, with those of the second projections in their places. */
function secondFill({ standIns }: ProjectionForm, model: Parameters<typeof parameter>[0]): Fill {
  const first = randomFill(0);
  return (name, count) => {
    const values = Array.from(first(name, count));
    for (const { suffix, weight, shape, place } of standIns) {
      if (name !== weight) continue;
      const second = parameter(model, suffix);
      const width = shape.slice(1).reduce((all, size) => all * size, 1);
      second.forEach((value, index) => {
        values[place(Math.floor(index / width), index % width)] = value;
      });
    }
    return values;
  };
}

const MIRRORED_HALVES: RewriteFileSettings = { splitHeads: true, init: 'mirror', sublayerNorm: false };
const modes: readonly RewriteFileSettings[] = [
  { sublayerNorm: false, seed: 3 },
  { normEps: 1e-3, seed: 4 },
  { splitHeads: true, sublayerNorm: false },
  MIRRORED_HALVES,
  { init: 'mirror', sublayerNorm: false, emit: 'inline' },
];

describe.each([...severalProjections, ...weightForms, ...packedForms])('$what', (form) => {
  const { text, heads, kvHeads, width, valueWidth, standIns, ownFactors } = form;
  const file = modelPath(textBytes(text));

  test('is found, and gets a parameter for each projection', () => {
    const { found, model } = rewriteModel(file);
    const sizes = `${heads}/${kvHeads} x ${width}${valueWidth === undefined ? '' : `, ${valueWidth}`}`;
    expect(inWords(found)).toEqual({ sites: [`layers.0.attn: ${sizes}`], misses: [] });
    const added = [...model.graph.values.values()].flatMap(({ name, initializer }) =>
      initializer && /[qk]2_proj/.test(name) ? [[name, initializer.dims.map(Number)]] : [],
    );
    expect(Object.fromEntries(added)).toEqual(
      Object.fromEntries(standIns.map(({ suffix, shape }) => [`layers.0.attn.${suffix}`, shape])),
    );
  });

  const possible = ownFactors ? modes.filter((mode) => mode !== MIRRORED_HALVES) : modes;
  test.each(possible)('%j', async (settings) => {
    const output = rewriteModel(file, settings);
    const [original, rewritten] = await Promise.all([
      valuesOf(textBytes(text)),
      valuesOf(rewrittenBytes(output).read(), ['C']),
    ]);
    const parameters = {
      lambda: lambdaIn(output.model),
      mix: 1,
      norm: settings.sublayerNorm === false ? undefined : { eps: 1e-3 },
      timesOneMinusLambdaInit: undefined,
      gain: 1,
    };
    const [A1_BHST, V] = [asHeads(original['A'], B, heads), asHeads(original['V'], B, heads)];
    let expected: Array64;
    if (settings.splitHeads) {
      const A_BHST = settings.init === 'mirror' ? firstHalfTwice(A1_BHST) : A1_BHST;
      expected = splitDifferentialAttention({ ...parameters, A_BHST, V_BGTD: V, pairing: 'halves' });
    } else {
      const negative = await valuesOf(textBytes(text, secondFill(form, output.model)));
      const A2_BHST = asHeads(negative['A'], B, heads);
      const moved = Math.max(...A2_BHST.data.map((value, i) => Math.abs(value - (A1_BHST.data[i] ?? 0))));
      if (settings.init !== 'mirror') expect(moved).toBeGreaterThan(1e-3);
      expected = differentialAttention({ ...parameters, A1_BHST, A2_BHST, V_BHTD: V });
    }
    const C = rewritten['C'];
    expect(C?.shape).toEqual(original['C']?.shape);
    expectClose({ C: C as Tensor }, { C: floatTensor(C?.shape ?? [], expected.data) }, 1e-5);
  });

  test.each([{ init: 'zero', sublayerNorm: false }, { init: 'preserve' }] as const)(
    '%j keeps the function',
    async (settings) => {
      const rewritten = rewrittenBytes(rewriteModel(file, settings)).read();
      expectClose(await valuesOf(rewritten, ['y']), await valuesOf(textBytes(text), ['y']), 1e-5);
    },
  );

  // lambda of each token needs one input for all tokens, and queries that come from one position each.
  const v2 = /^two sequences|kernel/.test(form.what) ? [] : [{ preset: 'v2', init: 'preserve' }];
  const settings: RewriteFileSettings[] = [
    {},
    { init: 'preserve' },
    { splitHeads: true },
    { preset: 'paper' },
  ];
  test.each([...settings, ...v2])('%j is verified', async (settings) => {
    const target = path.join(temporaryFolder(), 'rewritten.onnx');
    writeRewritten(rewriteModel(file, settings), target, true);
    const report = await verifyModels(file, target);
    expect(report.checks.flatMap(({ findings }) => findings)).toEqual([]);
    expect(report.passed).toBe(true);
  });
});

describe('a weight stored in 8 bits, [out, in], behind a Transpose', () => {
  const name = 'layers.0.attn.q_proj.weight';
  const text = variant(ATTENTION, [
    [
      `  float[8, 8] "${name}" = {...},\n`,
      `  int8[8, 8] "${name}" = {...},\n  float[8] "${name}_scale" = {0.01, 0.02, 0.01, 0.02, 0.01, 0.02, 0.01, 0.03},\n`,
    ],
    [
      line('q_proj'),
      `["widen"] wide = DequantizeLinear <axis = 0> ("${name}", "${name}_scale")
       ["turn"] turned = Transpose <perm = [1, 0]> (wide)
       ["q_proj"] q = MatMul (x, turned)`,
    ],
  ]);
  const levels: Fill = (tensor, count) => {
    const values = Array.from(randomFill(0)(tensor, count));
    return tensor === name ? values.map((value) => Math.round(value * 100)) : values;
  };
  const file = modelPath(textBytes(text, levels));

  test.each<RewriteFileSettings>([{ sublayerNorm: false }, { init: 'mirror', sublayerNorm: false }])(
    '%j: the second one is stored like it',
    async (settings) => {
      const output = rewriteModel(file, settings);
      const stored = (suffix: string) => {
        const tensor = output.model.graph.values.get(`layers.0.attn.q2_proj.${suffix}`)?.initializer;
        if (!tensor) throw new Error(`no ${suffix}`);
        expect(tensor.dims.map(Number)).toEqual(suffix === 'weight' ? [8, 8] : [8]);
        return output.model.bytes(tensor);
      };
      const numbers = [...new Int8Array(new Uint8Array(stored('weight')).buffer)];
      const scales = parameter(output.model, 'q2_proj.weight_scale');
      expect(new Set(numbers).size).toBeGreaterThan(20);
      expect(Math.max(...numbers.map((value, i) => Math.abs(value * (scales[i >> 3] ?? 0))))).toBeLessThan(3);
      const k2 = parameter(output.model, 'k2_proj.weight');
      const second = text.replace(
        '{0.01, 0.02, 0.01, 0.02, 0.01, 0.02, 0.01, 0.03}',
        `{${[...scales].join(', ')}}`,
      );
      const negative = textBytes(second, (tensor, count) => {
        if (tensor === name) return numbers;
        if (tensor !== 'layers.0.attn.k_proj.weight') return levels(tensor, count);
        return Array.from({ length: 64 }, (__, at) => k2[(at % 8) * 8 + (at >> 3)] ?? Number.NaN);
      });
      const [own, other, rewritten] = await Promise.all([
        valuesOf(textBytes(text, levels)),
        valuesOf(negative, ['A']),
        valuesOf(rewrittenBytes(output).read(), ['C']),
      ]);
      const expected = differentialAttention({
        lambda: lambdaIn(output.model),
        mix: 1,
        norm: undefined,
        timesOneMinusLambdaInit: undefined,
        gain: 1,
        A1_BHST: asHeads(own['A'], B, 2),
        A2_BHST: asHeads(other['A'], B, 2),
        V_BHTD: asHeads(own['V'], B, 2),
      });
      expectClose({ C: rewritten['C'] as Tensor }, { C: floatTensor([B, 2, S, 4], expected.data) }, 1e-5);
    },
  );
});

describe('refused, with the reason and nothing written', () => {
  const textOf = (what: string) =>
    [...severalProjections, ...weightForms, ...packedForms].find((form) => form.what.startsWith(what))
      ?.text ?? '';
  const gated = textOf('factors for all columns');
  const groups = textOf('convolutions with a kernel');
  const lowRank = textOf('a low-rank branch');
  const perHead = textOf('Einsum');
  const refused: readonly [what: string, text: string, settings: RewriteFileSettings, reason: string][] = [
    [
      'halves of heads that read other channels',
      groups,
      { splitHeads: true, init: 'mirror' },
      "projection-form at 'q_proj': wanted heads that read the same channels, to copy half of them, found a convolution in groups",
    ],
    [
      'channels in groups, heads innermost',
      variant(groups, [
        ['{0, 2, 4, -1}', '{0, 4, 2, -1}'],
        [
          '["q_heads"] Q = Transpose <perm = [0, 1, 3, 2]>',
          '["q_heads"] Q = Transpose <perm = [0, 2, 3, 1]>',
        ],
      ]),
      {},
      "projection-form at 'q_proj': wanted a convolution in groups whose channels are those of one side",
    ],
    [
      'a sum that another linear layer reads: a residual stream',
      variant(lowRank, [[line('v_proj'), line('v_proj').replace('(x,', '(q,')]]),
      {},
      "several-projections at 'v_proj': wanted linear layers whose results are queries and keys alone",
    ],
    [
      'a weight that is computed',
      variant(perHead, [
        ['["q_proj"] Q0', `["w"] wq = Neg ("layers.0.attn.q_proj.weight")\n["q_proj"] Q0`],
        ['(x, "layers.0.attn.q_proj.weight")', '(x, wq)'],
      ]),
      {},
      "weight-not-constant at 'q_proj': wanted a linear layer whose weight is stored, found a weight that 'w' computes",
    ],
    [
      'keys that are weighed over tokens, and not projected before',
      variant(ATTENTION, [
        [line('k_proj'), '["k_proj"] k = Identity (x)'],
        ['  float scale', '  float[3, 2] "layers.0.attn.few.weight" = {...},\n  float scale'],
        [
          line('k_heads'),
          `["k_heads"] K0 = Transpose <perm = [0, 2, 3, 1]> (k_BSHD)
           ["few"] K = MatMul (K0, "layers.0.attn.few.weight")`,
        ],
        [
          line('v_heads'),
          `["v_heads"] V0 = Transpose <perm = [0, 2, 3, 1]> (v_BSHD)
           ["few_v"] V1 = MatMul (V0, "layers.0.attn.few.weight")
           ["v_turn"] V = Transpose <perm = [0, 1, 3, 2]> (V1)`,
        ],
      ]),
      {},
      "'softmax': projection-form: wanted a linear layer with columns on the axis that scores sum over, found 'few', which has none there",
    ],
    [
      'a packed projection that is normed as a whole',
      variant(gated, [['["gate"] g = Sigmoid (d)', '["gate"] g = ReduceMax <axes = [-1]> (d)']]),
      {},
      "columns-mixed at 'gate': wanted operators that treat all columns of a packed projection alike, found ReduceMax",
    ],
    [
      'a packed projection with a norm of its rows',
      variant(gated, [['["gate"] g = Sigmoid (d)', '["gate"] g = LpNormalization <axis = -1> (d)']]),
      {},
      "columns-mixed at 'gate': wanted operators that treat all columns of a packed projection alike, found LpNormalization",
    ],
    [
      'lambda of a token whose queries come from several positions',
      groups,
      { preset: 'v2' },
      "projection-form at 'q_proj': wanted queries of one position each, for lambda as well",
    ],
    [
      'lambda of tokens that come from two sequences',
      textOf('two sequences'),
      { preset: 'v2' },
      "layout-lost at 'text_q': wanted tokens that are those of one input, for lambda to be projected from it",
    ],
  ];
  test.each(refused)('%s', (_, text, settings, reason) => {
    expect(() => rewriteModel(modelPath(textBytes(text)), settings)).toThrow(reason);
  });
});

/** The maps of the first half of the heads in the place of all: what copies of their weights give. */
function firstHalfTwice({ shape, data }: Array64): Array64 {
  const [, heads = 1, rows = 1, columns = 1] = shape;
  const [map, all] = [rows * columns, heads * rows * columns];
  const turned = data.map((_, i) => {
    const head = Math.floor((i % all) / map) % (heads / 2);
    return data[Math.floor(i / all) * all + head * map + (i % map)] ?? Number.NaN;
  });
  return { shape, data: turned };
}
