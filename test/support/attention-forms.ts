/** Attention in the forms that exporters write it in, each as small as it gets: the same thing for a rewriter. */
import { ATTENTION, line, variant } from './attention-text';

export interface AttentionForm {
  readonly what: string;
  readonly text: string;
  /** Heads, key heads, and widths of query and value heads. */
  readonly heads: number;
  readonly kvHeads: number;
  readonly width: number;
  /** Names of the probabilities, the values and the attended values; `undefined` where an operator has them inside. */
  readonly values: { readonly A: string | undefined; readonly V: string; readonly C: string };
  /**
   * Weights of queries and keys: name, the number of columns, and the columns of head 0, width 0; head 0, width 1; and so
   * on. Stored as [in, columns] unless `outFirst`.
   */
  readonly query: StoredColumns;
  readonly key: StoredColumns;
  /** What the queries are projected from, where it is not the input of the model. */
  readonly queryInput?: string;
}

export interface StoredColumns {
  readonly weight: string;
  readonly bias?: string;
  readonly columns: number;
  readonly order: readonly number[];
  readonly outFirst?: boolean;
}

const weight = (name: string) => `layers.0.attn.${name}.weight`;
const inOrder = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i);
const ACV = { A: 'A', V: 'V', C: 'C' };

const plain: AttentionForm = {
  what: 'separate projections',
  text: ATTENTION,
  heads: 2,
  kvHeads: 2,
  width: 4,
  values: ACV,
  query: { weight: weight('q_proj'), columns: 8, order: inOrder(8) },
  key: { weight: weight('k_proj'), columns: 8, order: inOrder(8) },
};

/** Four query heads of width 2; keys and values have `count` heads. */
function grouped(count: number): string {
  return variant(ATTENTION, [
    ['split = {0, 0, 2, 4}', `split = {0, 0, 4, 2}, int64[4] few = {0, 0, ${count}, 2}`],
    [`float[8, 8] "${weight('k_proj')}"`, `float[8, ${2 * count}] "${weight('k_proj')}"`],
    [`float[8, 8] "${weight('v_proj')}"`, `float[8, ${2 * count}] "${weight('v_proj')}"`],
    ['Reshape (k, split)', 'Reshape (k, few)'],
    ['Reshape (v, split)', 'Reshape (v, few)'],
  ]);
}

const fewKeys = (count: number) => ({
  heads: 4,
  kvHeads: count,
  width: 2,
  query: { weight: weight('q_proj'), columns: 8, order: inOrder(8) },
  key: { weight: weight('k_proj'), columns: 2 * count, order: inOrder(2 * count) },
});

/** One packed layer in place of three. `order` of [head, part, width] in its columns. */
function packed(text: string): string {
  const none = ['q', 'k', 'v'].flatMap((name) => [
    [line(`${name}_proj`), ''] as const,
    [`  float[8, 8] "${weight(`${name}_proj`)}" = {...},\n`, ''] as const,
  ]);
  return variant(ATTENTION, [
    ...none,
    [
      '  float scale',
      `  float[8, 24] "${weight('qkv')}" = {...},\n  float[24] "layers.0.attn.qkv.bias" = {...},\n  float scale`,
    ],
    [
      '> {\n',
      `> {
  ["qkv"] qkv0 = MatMul (x, "${weight('qkv')}")
  ["qkv_bias"] qkv = Add ("layers.0.attn.qkv.bias", qkv0)
${text}`,
    ],
  ]);
}

const packedColumns = (order: (head: number, width: number, part: number) => number) => {
  const columns = (part: number) => inOrder(8).map((i) => order(Math.floor(i / 4), i % 4, part));
  const stored = { weight: weight('qkv'), bias: 'layers.0.attn.qkv.bias', columns: 24 };
  return { query: { ...stored, order: columns(0) }, key: { ...stored, order: columns(1) } };
};

export const forms: readonly AttentionForm[] = [
  plain,
  {
    ...plain,
    what: 'scores with a mask, divided by a scale',
    text: variant(ATTENTION, [
      [
        '  float scale = {0.5}',
        '  float[3, 3] mask = {0, -1e4, -1e4, 0, 0, -1e4, 0, 0, 0},\n  float scale = {0.5}',
      ],
      [line('scaled'), '["scaled"] S0 = Div (raw, scale)\n["masked"] S = Add (S0, mask)'],
    ]),
  },
  {
    ...plain,
    what: 'scores that are capped, and probabilities that are guarded against NaN',
    text: variant(ATTENTION, [
      [line('scaled'), '["scaled"] S0 = Mul (raw, scale)\n["capped"] S = Tanh (S0)'],
      [
        line('softmax'),
        '["softmax"] A0 = Softmax <axis = -1> (S)\n["bad"] nan = IsNaN (A0)\n["guard"] A = Where (nan, zero, A0)',
      ],
      ['  float scale', '  float zero = {0},\n  float scale'],
    ]),
  },
  {
    ...plain,
    what: 'heads in the batch axis, [B * h, S, T]',
    text: variant(ATTENTION, [
      ['(float[B, S, 8] x) => (float[B, S, 8] y)', '(float[B, 3, 8] x) => (float[B, 3, 8] y)'],
      ['  float scale', '  int64[3] flat = {-1, 3, 4}, int64[4] unflat = {-1, 2, 3, 4},\n  float scale'],
      [
        line('q_heads'),
        '["q_heads"] Q4 = Transpose <perm = [0, 2, 1, 3]> (q_BSHD)\n["q_flat"] Q = Reshape (Q4, flat)',
      ],
      [
        line('k_heads'),
        '["k_heads"] K4 = Transpose <perm = [0, 2, 1, 3]> (k_BSHD)\n["k_flat"] K3 = Reshape (K4, flat)\n["k_turn"] K = Transpose <perm = [0, 2, 1]> (K3)',
      ],
      [
        line('v_heads'),
        '["v_heads"] V4 = Transpose <perm = [0, 2, 1, 3]> (v_BSHD)\n["v_flat"] V = Reshape (V4, flat)',
      ],
      [
        line('join'),
        '["unflatten"] C4 = Reshape (C, unflat)\n["join"] C_BSHD = Transpose <perm = [0, 2, 1, 3]> (C4)',
      ],
    ]),
  },
  {
    ...plain,
    what: 'heads in the batch axis of a sequence-first model, as torch.nn.MultiheadAttention',
    text: variant(ATTENTION, [
      ['(float[B, S, 8] x) => (float[B, S, 8] y)', '(float[B, 3, 8] x_BSE) => (float[B, 3, 8] y)'],
      ['> {\n', '> {\n  ["turn"] x = Transpose <perm = [1, 0, 2]> (x_BSE)\n'],
      ['split = {0, 0, 2, 4}', 'split = {3, -1, 4}'],
      ['int64[4] split', 'int64[3] split'],
      ['merged = {0, 0, 8}', 'merged = {3, -1, 8}'],
      [line('q_heads'), '["q_heads"] Q = Transpose <perm = [1, 0, 2]> (q_BSHD)'],
      [line('k_heads'), '["k_heads"] K = Transpose <perm = [1, 2, 0]> (k_BSHD)'],
      [line('v_heads'), '["v_heads"] V = Transpose <perm = [1, 0, 2]> (v_BSHD)'],
      [line('join'), '["join"] C_BSHD = Transpose <perm = [1, 0, 2]> (C)'],
      [
        line('o_proj'),
        `${line('o_proj').replace('y =', 'y_SBE =')}\n["back"] y = Transpose <perm = [1, 0, 2]> (y_SBE)`,
      ],
    ]),
  },
  {
    ...fewKeys(1),
    what: 'one key head that all query heads share by broadcasting',
    text: grouped(1),
    values: ACV,
  },
  {
    ...fewKeys(2),
    what: 'key heads that are repeated for groups of query heads',
    text: variant(grouped(2), [
      [
        '  float scale',
        '  int64[1] two = {2}, int64[5] twice = {1, 1, 2, 1, 1}, int64[4] many = {0, 4, -1, 2},\n  float scale',
      ],
      [
        line('k_heads'),
        '["k_heads"] K2 = Transpose <perm = [0, 2, 1, 3]> (k_BSHD)\n["k_group"] K3 = Unsqueeze (K2, two)\n["k_repeat"] K5 = Expand (K3, twice)\n["k_many"] K4 = Reshape (K5, many)\n["k_turn"] K = Transpose <perm = [0, 1, 3, 2]> (K4)',
      ],
      [
        line('v_heads'),
        '["v_heads"] V2 = Transpose <perm = [0, 2, 1, 3]> (v_BSHD)\n["v_group"] V3 = Unsqueeze (V2, two)\n["v_repeat"] V5 = Expand (V3, twice)\n["v_many"] V = Reshape (V5, many)',
      ],
    ]),
    values: ACV,
  },
  {
    ...fewKeys(2),
    what: 'groups of query heads on an axis of their own, [B, g, h / g, S, d]',
    text: variant(grouped(2), [
      ['split = {0, 0, 4, 2}', 'split = {0, 0, 2, 2, 2}'],
      ['int64[4] split', 'int64[5] split'],
      ['  float scale', '  int64[1] two = {2},\n  float scale'],
      [line('q_heads'), '["q_heads"] Q = Transpose <perm = [0, 2, 3, 1, 4]> (q_BSHD)'],
      [
        line('k_heads'),
        '["k_heads"] K4 = Transpose <perm = [0, 2, 3, 1]> (k_BSHD)\n["k_group"] K = Unsqueeze (K4, two)',
      ],
      [
        line('v_heads'),
        '["v_heads"] V4 = Transpose <perm = [0, 2, 1, 3]> (v_BSHD)\n["v_group"] V = Unsqueeze (V4, two)',
      ],
      [line('join'), '["join"] C_BSHD = Transpose <perm = [0, 3, 1, 2, 4]> (C)'],
    ]),
    values: ACV,
  },
  {
    ...plain,
    ...packedColumns((head, width, part) => part * 8 + head * 4 + width),
    what: 'packed [q | k | v]',
    text: packed('  ["parts"] q, k, v = Split <axis = -1> (qkv)'),
  },
  {
    ...plain,
    ...packedColumns((head, width, part) => part * 8 + head * 4 + width),
    what: 'packed [3, h, d], taken apart by Gather',
    text: variant(packed(''), [
      [
        '  float scale',
        '  int64[5] five = {0, 0, 3, 2, 4}, int64 zero = {0}, int64 one = {1}, int64 two = {2},\n  float scale',
      ],
      [
        line('q_split'),
        '["five"] parts_BSPHD = Reshape (qkv, five)\n["front"] parts = Transpose <perm = [2, 0, 3, 1, 4]> (parts_BSPHD)',
      ],
      [line('k_split'), ''],
      [line('v_split'), ''],
      [line('q_heads'), '["q_heads"] Q = Gather <axis = 0> (parts, zero)'],
      [
        line('k_heads'),
        '["k_heads"] K4 = Gather <axis = 0> (parts, one)\n["k_turn"] K = Transpose <perm = [0, 1, 3, 2]> (K4)',
      ],
      [line('v_heads'), '["v_heads"] V = Gather <axis = 0> (parts, two)'],
    ]),
  },
  {
    ...plain,
    ...packedColumns((head, width, part) => head * 12 + part * 4 + width),
    what: 'packed and interleaved, [h, 3, d]',
    text: variant(packed(''), [
      [
        '  float scale',
        '  int64[5] five = {0, 0, 2, 3, 4}, int64 zero = {0}, int64 one = {1}, int64 two = {-1},\n  float scale',
      ],
      [
        line('q_split'),
        '["five"] parts = Reshape (qkv, five)\n["q_part"] q_BSHD = Gather <axis = 3> (parts, zero)',
      ],
      [line('k_split'), '["k_part"] k_BSHD = Gather <axis = 3> (parts, one)'],
      [line('v_split'), '["v_part"] v_BSHD = Gather <axis = 3> (parts, two)'],
    ]),
  },
  {
    ...plain,
    what: 'Gemm of rows, weights [out, in], with bias',
    text: variant(ATTENTION, [
      ['(float[B, S, 8] x) => (float[B, S, 8] y)', '(float[B, 3, 8] x) => (float[B, 3, 8] y)'],
      [
        '  float scale',
        '  float[8] "layers.0.attn.q_proj.bias" = {...}, float[8] "layers.0.attn.k_proj.bias" = {...},\n  int64[2] rows = {-1, 8}, int64[3] unrows = {-1, 3, 8},\n  float scale',
      ],
      ['> {\n', '> {\n  ["rows"] x2 = Reshape (x, rows)\n'],
      ...['q', 'k'].map(
        (name) =>
          [
            line(`${name}_proj`),
            `  ["${name}_proj"] ${name}2 = Gemm <transB = 1> (x2, "${weight(`${name}_proj`)}", "layers.0.attn.${name}_proj.bias")\n  ["${name}_unrows"] ${name} = Reshape (${name}2, unrows)`,
          ] as const,
      ),
    ]),
    query: {
      weight: weight('q_proj'),
      bias: 'layers.0.attn.q_proj.bias',
      columns: 8,
      order: inOrder(8),
      outFirst: true,
    },
    key: {
      weight: weight('k_proj'),
      bias: 'layers.0.attn.k_proj.bias',
      columns: 8,
      order: inOrder(8),
      outFirst: true,
    },
  },
  {
    ...plain,
    what: 'weights [out, in] behind a Transpose and an Identity',
    text: variant(ATTENTION, [
      ...['q', 'k'].map(
        (name) =>
          [
            line(`${name}_proj`),
            `  ["${name}_alias"] ${name}_alias = Identity ("${weight(`${name}_proj`)}")
  ["${name}_turned"] ${name}_turned = Transpose <perm = [1, 0]> (${name}_alias)
  ["${name}_proj"] ${name} = MatMul (x, ${name}_turned)`,
          ] as const,
      ),
    ]),
    query: { weight: weight('q_proj'), columns: 8, order: inOrder(8), outFirst: true },
    key: { weight: weight('k_proj'), columns: 8, order: inOrder(8), outFirst: true },
  },
  {
    ...plain,
    what: 'queries and keys that are turned by position, and scaled before the scores',
    text: variant(ATTENTION, [
      ['  float scale', '  float[3, 4] cos = {...}, float[3, 4] sin = {...},\n  float scale'],
      [
        line('q_heads'),
        `["q_heads"] Q0 = Transpose <perm = [0, 2, 1, 3]> (q_BSHD)
  q_a, q_b = Split <axis = -1> (Q0)
  q_n = Neg (q_b)
  q_r = Concat <axis = -1> (q_n, q_a)
  q_1 = Mul (Q0, cos)
  q_2 = Mul (q_r, sin)
  Q1 = Add (q_1, q_2)
  Q = Mul (Q1, scale)`,
      ],
      [
        line('k_heads'),
        `["k_heads"] K0 = Transpose <perm = [0, 2, 1, 3]> (k_BSHD)
  k_a, k_b = Split <axis = -1> (K0)
  k_n = Neg (k_b)
  k_r = Concat <axis = -1> (k_n, k_a)
  k_1 = Mul (K0, cos)
  k_2 = Mul (k_r, sin)
  K1 = Add (k_1, k_2)
  K = Transpose <perm = [0, 1, 3, 2]> (K1)`,
      ],
      [line('scaled'), '["scaled"] S = Identity (raw)'],
    ]),
  },
  {
    ...plain,
    what: 'keys times queries, softmax over the keys on the axis before the last',
    text: variant(ATTENTION, [
      [line('q_heads'), '["q_heads"] QT = Transpose <perm = [0, 2, 3, 1]> (q_BSHD)'],
      [line('k_heads'), '["k_heads"] KT = Transpose <perm = [0, 2, 1, 3]> (k_BSHD)'],
      [line('scores'), '["scores"] raw = MatMul (KT, QT)'],
      [line('softmax'), '["softmax"] AT = Softmax <axis = 2> (S)\nA = Transpose <perm = [0, 1, 3, 2]> (AT)'],
    ]),
  },
  {
    ...plain,
    what: 'values times probabilities, both transposed',
    text: variant(ATTENTION, [
      [
        line('attended'),
        `["A_t"] AT = Transpose <perm = [0, 1, 3, 2]> (A)
  ["V_t"] VT = Transpose <perm = [0, 1, 3, 2]> (V)
  ["attended"] CT = MatMul (VT, AT)
  ["C_t"] C = Transpose <perm = [0, 1, 3, 2]> (CT)`,
      ],
    ]),
  },
  {
    ...plain,
    what: 'a softmax over queries, which compete for the keys',
    text: variant(ATTENTION, [['Softmax <axis = -1>', 'Softmax <axis = 2>']]),
  },
  {
    ...plain,
    what: 'a softmax written out, with the largest score taken off',
    text: variant(ATTENTION, [
      [
        line('softmax'),
        `most = ReduceMax <axes = [-1]> (S)
  less = Sub (S, most)
  e = Exp (less)
  total = ReduceSum (e, last)
  A = Div (e, total)`,
      ],
      ['  float scale', '  int64[1] last = {-1},\n  float scale'],
    ]),
  },
  {
    ...plain,
    what: 'a softmax written out, with one added to the sum and a product with its inverse',
    text: variant(ATTENTION, [
      [
        line('softmax'),
        `e = Exp (S)
  total = ReduceSum (e, last)
  more = Add (total, one)
  inverse = Reciprocal (more)
  A = Mul (e, inverse)`,
      ],
      ['  float scale', '  int64[1] last = {-1}, float one = {1},\n  float scale'],
    ]),
  },
  {
    ...plain,
    what: 'the exponential of a logarithmic softmax',
    text: variant(ATTENTION, [[line('softmax'), 'log = LogSoftmax <axis = -1> (S)\n  A = Exp (log)']]),
  },
  {
    ...plain,
    what: 'Einsum with an ellipsis',
    text: variant(ATTENTION, [
      [line('k_heads'), '["k_heads"] K = Transpose <perm = [0, 2, 1, 3]> (k_BSHD)'],
      [line('scores'), '["scores"] raw = Einsum <equation = "...qd,...kd->...qk"> (Q, K)'],
      [line('attended'), '["attended"] C = Einsum <equation = "...qk,...kd->...qd"> (A, V)'],
    ]),
  },
  {
    ...plain,
    what: 'learned queries, the same for every input of a batch',
    queryInput: 'asked',
    text: variant(ATTENTION, [
      ['  float scale', '  float[1, 2, 8] learned = {...}, int64[2] one = {1, 1},\n  float scale'],
      [
        line('q_proj'),
        `batch = Shape <start = 0, end = 1> (x)
  shape = Concat <axis = 0> (batch, one)
  asked = Expand (learned, shape)
  ["q_proj"] q = MatMul (asked, "${weight('q_proj')}")`,
      ],
    ]),
  },
];
