/**
 * Weights, biases and projections that others read as well: the exchange of the components leaves to them what they read,
 * and still finds a negative component that takes anything of the positive one.
 */
import { verifyModels } from '../../src/api/verify';
import { variant } from '../support/attention-text';
import { modelPath, textBytes } from '../support/models';
import { Draft } from './support/draft';
import { checkOf, findingsOf, pairOfModel } from './support/pairs';

/** One attention of two heads of width 4, soft-capped, so that its maps are copied node by node. */
function attention(path: string, x: string, y: string): string {
  const n = (name: string) => `${path.replace(/\./g, '_')}_${name}`;
  return `
  ["${path}/q_proj"] ${n('q0')} = MatMul (${x}, "${path}.q.weight")
  ["${path}/q_bias"] ${n('q')} = Add (${n('q0')}, "${path}.q.bias")
  ["${path}/k_proj"] ${n('k0')} = MatMul (${x}, "${path}.k.weight")
  ["${path}/k_bias"] ${n('k')} = Add (${n('k0')}, "${path}.k.bias")
  ["${path}/v_proj"] ${n('v')} = MatMul (${x}, "${path}.v.weight")
  ["${path}/q_split"] ${n('q_BSHD')} = Reshape (${n('q')}, split)
  ["${path}/k_split"] ${n('k_BSHD')} = Reshape (${n('k')}, split)
  ["${path}/v_split"] ${n('v_BSHD')} = Reshape (${n('v')}, split)
  ["${path}/q_heads"] ${n('Q')} = Transpose <perm = [0, 2, 1, 3]> (${n('q_BSHD')})
  ["${path}/k_heads"] ${n('K')} = Transpose <perm = [0, 2, 3, 1]> (${n('k_BSHD')})
  ["${path}/v_heads"] ${n('V')} = Transpose <perm = [0, 2, 1, 3]> (${n('v_BSHD')})
  ["${path}/scores"] ${n('raw')} = MatMul (${n('Q')}, ${n('K')})
  ["${path}/cap"] ${n('S')} = Tanh (${n('raw')})
  ["${path}/softmax"] ${n('A')} = Softmax <axis = -1> (${n('S')})
  ["${path}/attended"] ${n('C')} = MatMul (${n('A')}, ${n('V')})
  ["${path}/join"] ${n('C_BSHD')} = Transpose <perm = [0, 2, 1, 3]> (${n('C')})
  ["${path}/merge"] ${n('C_BSE')} = Reshape (${n('C_BSHD')}, merged)
  ["${path}/o_proj"] ${n('o')} = MatMul (${n('C_BSE')}, "${path}.o.weight")
  ["${path}/residual"] ${y} = Add (${n('o')}, ${x})`;
}

const weights = (path: string) =>
  `${['q', 'k', 'v', 'o'].map((name) => `float[8, 8] "${path}.${name}.weight" = {...},`).join(' ')}
  float[8] "${path}.q.bias" = {...}, float[8] "${path}.k.bias" = {...},`;

/** Two of them, and a linear layer behind. */
const MODEL = `<ir_version: 8, opset_import: ["" : 17]>
g (float[B, S, 8] x) => (float[B, S, 8] y) <
  ${weights('l0.attn')} ${weights('l1.attn')}
  float[8, 8] "mlp.weight" = {...}, float[8] "mlp.bias" = {...},
  int64[4] split = {0, 0, 2, 4}, int64[3] merged = {0, 0, 8}
> {${attention('l0.attn', 'x', 'x1')}
${attention('l1.attn', 'x1', 'x2')}
  ["mlp/product"] m0 = MatMul (x2, "mlp.weight")
  ["mlp/add"] m1 = Add (m0, "mlp.bias")
  ["mlp/act"] m2 = Relu (m1)
  ["mlp/residual"] y = Add (m2, x2)
}`;

const NUMBERS = Array.from({ length: 64 }, (_, index) => ((37 * index) % 101) - 50);

type Change = readonly [from: string, to: string];

const shared: Record<string, readonly Change[]> = {
  'the values are the keys': [
    ['v_split"] l0_attn_v_BSHD = Reshape (l0_attn_v,', 'v_split"] l0_attn_v_BSHD = Reshape (l0_attn_k,'],
  ],
  'the values are the queries': [
    ['v_split"] l1_attn_v_BSHD = Reshape (l1_attn_v,', 'v_split"] l1_attn_v_BSHD = Reshape (l1_attn_q,'],
  ],
  'the values are projected from the keys': [['l0_attn_v = MatMul (x,', 'l0_attn_v = MatMul (l0_attn_k,']],
  'values and keys have one heads-first layout': [
    [
      'l0_attn_V = Transpose <perm = [0, 2, 1, 3]> (l0_attn_v_BSHD)',
      'l0_attn_V = Transpose <perm = [0, 2, 1, 3]> (l0_attn_k_BSHD)',
    ],
  ],
  'the biases of queries and keys are that of the linear layer': [
    ['l0_attn_q = Add (l0_attn_q0, "l0.attn.q.bias")', 'l0_attn_q = Add (l0_attn_q0, "mlp.bias")'],
    ['l0_attn_k = Add (l0_attn_k0, "l0.attn.k.bias")', 'l0_attn_k = Add (l0_attn_k0, "mlp.bias")'],
  ],
  'a bias stands before a norm': [
    ['m0 = MatMul (x2,', 'x3 = Mul (x2, "l1.attn.k.bias")\n m0 = MatMul (x3,'],
    ['l0_attn_q0 = MatMul (x,', 'n0 = Mul (x, "l1.attn.q.bias")\n l0_attn_q0 = MatMul (n0,'],
  ],
  'both layers have the queries of one': [
    ['l1_attn_q0 = MatMul (x1, "l1.attn.q.weight")', 'l1_attn_q0 = MatMul (x1, "l0.attn.q.weight")'],
  ],
  'the keys of one layer have the weight of the values of the other': [
    ['l1_attn_v = MatMul (x1, "l1.attn.v.weight")', 'l1_attn_v = MatMul (x1, "l0.attn.k.weight")'],
  ],
  'queries and keys have one weight': [
    ['l0_attn_k0 = MatMul (x, "l0.attn.k.weight")', 'l0_attn_k0 = MatMul (x, "l0.attn.q.weight")'],
  ],
  'the weight is that of the linear layer, transposed': [
    [
      'l0_attn_q0 = MatMul (x, "l0.attn.q.weight")',
      'turned = Transpose (shared)\n l0_attn_q0 = MatMul (x, turned)',
    ],
    ['m0 = MatMul (x2, "mlp.weight")', 'm0 = MatMul (x2, shared)'],
    ['"mlp.weight" = {...}', 'shared = {...}'],
  ],
  'the transposed weight is that of the linear layer as well': [
    [
      'l0_attn_q0 = MatMul (x, "l0.attn.q.weight")',
      'turned = Transpose (shared)\n n0 = MatMul (x, turned)\n n1 = Tanh (n0)\n l0_attn_q0 = MatMul (x, turned)',
    ],
    ['m0 = MatMul (x2, "mlp.weight")', 'm0 = MatMul (n1, turned)'],
    ['"mlp.weight" = {...}', 'shared = {...}'],
  ],
  'the dequantized weight is that of the linear layer as well': [
    [
      'l0_attn_q0 = MatMul (x, "l0.attn.q.weight")',
      'wide = DequantizeLinear (numbers, step)\n l0_attn_q0 = MatMul (x, wide)',
    ],
    ['m0 = MatMul (x2, "mlp.weight")', 'm0 = MatMul (x2, wide)'],
    ['"mlp.weight" = {...}', 'step = {0.01}'],
    ['float[8, 8] step', `int8[8, 8] numbers = {${NUMBERS}}, float step`],
  ],
  'the embedding is the projection': [
    ['(float[B, S, 8] x) =>', '(int64[B, S] input_ids) =>'],
    ['["l0.attn/q_proj"]', 'x = Gather (table, input_ids)\n ["l0.attn/q_proj"]'],
    ['l0_attn_q0 = MatMul (x, "l0.attn.q.weight")', 'l0_attn_q0 = MatMul (x, table)'],
    ['"mlp.weight" = {...}', '"mlp.weight" = {...}, float[8, 8] table = {...}'],
  ],
  'a gate is computed from the queries': [
    [
      'l1_attn_o = MatMul (l1_attn_C_BSE,',
      'gate = Sigmoid (l1_attn_q)\n gated = Mul (l1_attn_C_BSE, gate)\n l1_attn_o = MatMul (gated,',
    ],
  ],
  'a gate before the next layer is computed from the keys': [
    [
      'x1 = Add (l0_attn_o, x)',
      'gate = Sigmoid (l0_attn_k)\n gated = Mul (l0_attn_o, gate)\n x1 = Add (gated, x)',
    ],
  ],
  'a branch beside the attention is computed from the queries with their bias, which is that of the keys': [
    ['["l0.attn/q_proj"]', 'bq = Identity ("l0.attn.k.bias")\n ["l0.attn/q_proj"]'],
    ['l0_attn_q = Add (l0_attn_q0, "l0.attn.q.bias")', 'l0_attn_q = Add (bq, l0_attn_q0)'],
    [
      'l0_attn_o = MatMul (l0_attn_C_BSE,',
      'branch = Mul (l0_attn_q, x)\n joined = Add (l0_attn_C_BSE, branch)\n l0_attn_o = MatMul (joined,',
    ],
  ],
  'scores are handed on to the next layer': [
    ['l1_attn_S = Tanh (l1_attn_raw)', 'both = Add (l1_attn_raw, l0_attn_raw)\n l1_attn_S = Tanh (both)'],
  ],
  'both layers have the same keys': [
    [
      'l1_attn_K = Transpose <perm = [0, 2, 3, 1]> (l1_attn_k_BSHD)',
      'l1_attn_K = Transpose <perm = [0, 2, 3, 1]> (l0_attn_k_BSHD)',
    ],
  ],
  'both layers have the same keys and values, which are one': [
    [
      'l1_attn_K = Transpose <perm = [0, 2, 3, 1]> (l1_attn_k_BSHD)',
      'l1_attn_K = Transpose <perm = [0, 2, 3, 1]> (l0_attn_k_BSHD)',
    ],
    [
      'l1_attn_V = Transpose <perm = [0, 2, 1, 3]> (l1_attn_v_BSHD)',
      'l1_attn_V = Transpose <perm = [0, 2, 1, 3]> (l0_attn_k_BSHD)',
    ],
    [
      'l0_attn_V = Transpose <perm = [0, 2, 1, 3]> (l0_attn_v_BSHD)',
      'l0_attn_V = Transpose <perm = [0, 2, 1, 3]> (l0_attn_k_BSHD)',
    ],
  ],
};

/** What few inputs show, more show as well. */
const FEW = { lengths: [5] };

describe.each(Object.entries(shared))('%s', (_, changes) => {
  const { original, rewritten } = pairOfModel(modelPath(textBytes(variant(MODEL, changes), 3)), {
    init: 'preserve',
  });

  test('is verified', async () => {
    expect(findingsOf(await verifyModels(original, rewritten, FEW))).toEqual([]);
  });

  test('negative queries from the own weights are found', async () => {
    const draft = new Draft(rewritten);
    const [, weight = ''] = draft.producer('l0_attn_q0').input;
    let product = draft.reader('l0.attn.q2_proj.weight');
    while (product.opType !== 'MatMul') product = draft.reader(product.output[0] ?? '');
    product.input = [product.input[0] ?? '', weight];
    const { findings } = checkOf(await verifyModels(original, draft.write(), FEW), 'mirrored');
    expect(findings.map(({ layer }) => layer)).toContain('l0.attn');
  });

  test('negative keys and negative scores that are the positive ones are found', async () => {
    const draft = new Draft(rewritten);
    const [, keys = ''] = draft.node('l0.attn/scores').input;
    const negative = draft.node('l0.attn/scores/negative');
    negative.input = [negative.input[0] ?? '', keys];
    draft.node('l1.attn/cap/negative').input = [...draft.node('l1.attn/cap').input];
    const { findings } = checkOf(await verifyModels(original, draft.write(), FEW), 'mirrored');
    expect(new Set(findings.map(({ layer }) => layer)).size).toBe(2);
  });
});
