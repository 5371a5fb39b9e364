/** Attention whose queries and keys come from linear layers in other forms than one product with a stored matrix. */
import { ATTENTION, line, variant } from './attention-text';

/** A new parameter, and where its numbers go in a weight of the model for the model itself to compute the second map. */
export interface StandIn {
  /** Name behind the attention path. */
  readonly suffix: string;
  readonly shape: readonly number[];
  /** Name of the model's own weight or bias. */
  readonly weight: string;
  /** The element of it that holds number `at` of row `row`, columns in the order of heads and widths. */
  readonly place: (row: number, at: number) => number;
}

export interface ProjectionForm {
  readonly what: string;
  readonly text: string;
  readonly heads: number;
  readonly kvHeads: number;
  readonly width: number;
  /** Where values have another width. */
  readonly valueWidth?: number;
  readonly standIns: readonly StandIn[];
  /** True where heads with the same weights give different maps: each has factors or channels of its own. */
  readonly ownFactors?: boolean;
}

const name = (leaf: string) => `layers.0.attn.${leaf}`;
const weight = (leaf: string) => name(`${leaf}.weight`);
const declared = (leaf: string) => `  float[8, 8] "${weight(leaf)}" = {...},\n`;

/** A whole weight [in, columns] of the plain form. */
function stored(suffix: string, leaf: string, inFeatures = 8, columns = 8, from = 0): StandIn {
  return {
    suffix: `${suffix}.weight`,
    shape: [columns - from, inFeatures],
    weight: weight(leaf),
    place: (row, at) => at * columns + row + from,
  };
}

function bias(suffix: string, leaf: string, columns = 8): StandIn {
  const place = (row: number) => row;
  return { suffix: `${suffix}.bias`, shape: [columns], weight: name(`${leaf}.bias`), place };
}

const plain = { heads: 2, kvHeads: 2, width: 4 };
const [q, k] = [stored('q2_proj', 'q_proj'), stored('k2_proj', 'k_proj')];

/** The queries as other lines; more initializers in front of the scale. */
function queries(lines: string, initializers: string, keep = true): string {
  return variant(ATTENTION, [
    ...(keep ? [] : [[declared('q_proj'), ''] as const]),
    ['  float scale', `${initializers}  float scale`],
    [line('q_proj'), lines],
  ]);
}

/** [in, 3, 4] as [3, in, 4]. */
const perHead: StandIn = {
  ...q,
  place: (row, at) => Math.floor(row / 4) * 32 + at * 4 + (row % 4),
};

export const severalProjections: readonly ProjectionForm[] = [
  {
    ...plain,
    what: 'a low-rank branch on the queries, scaled',
    text: queries(
      `["base"] q0 = MatMul (x, "${weight('q_proj')}")
       ["a"] low = MatMul (x, "${weight('a')}")
       ["b"] high = MatMul (low, "${weight('b')}")
       ["weigh"] branch = Mul (high, two)
       ["sum"] q = Add (branch, q0)`,
      `  float[8, 3] "${weight('a')}" = {...},\n  float[3, 8] "${weight('b')}" = {...},\n  float two = {2},\n`,
    ),
    standIns: [q, stored('q2_proj.1', 'b', 3), k],
  },
  {
    ...plain,
    what: 'queries that are gated by another layer',
    text: queries(
      `["base"] q0 = MatMul (x, "${weight('q_proj')}")
       ["gate"] g0 = MatMul (x, "${weight('gate')}")
       ["open"] g = Sigmoid (g0)
       ["gated"] q = Mul (q0, g)`,
      `  float[8, 8] "${weight('gate')}" = {...},\n`,
    ),
    standIns: [q, stored('q2_proj.1', 'gate'), k],
  },
  {
    heads: 2,
    kvHeads: 2,
    width: 6,
    valueWidth: 4,
    what: 'latent keys: a part for each head from a latent, and a part that all heads share',
    text: variant(ATTENTION, [
      [declared('k_proj'), ''],
      [declared('q_proj'), `  float[8, 12] "${weight('q_proj')}" = {...},\n`],
      [
        '  float scale',
        `  float[8, 5] "${weight('down')}" = {...},
  float[3, 16] "${weight('up')}" = {...},
  float[3] ones = {1, 2, 0.5},
  int64[2] latents = {3, 2}, int64[2] halves = {4, 4}, int64[4] apart = {0, 0, 2, 8},
  int64[4] six = {0, 0, 2, 6}, int64[4] one_head = {0, 0, 1, 2}, int64[4] both = {1, 2, 1, 1},
  float scale`,
      ],
      [
        line('k_proj'),
        `["down"] c0 = MatMul (x, "${weight('down')}")
         ["latent"] c, rope0 = Split <axis = -1> (c0, latents)
         ["norm"] cn = Mul (c, ones)
         ["up"] kv0 = MatMul (cn, "${weight('up')}")
         ["kv_split"] kv1 = Reshape (kv0, apart)
         ["kv_heads"] kv = Transpose <perm = [0, 2, 1, 3]> (kv1)
         ["parts"] k_own, V = Split <axis = -1> (kv, halves)
         ["rope_split"] rope1 = Reshape (rope0, one_head)
         ["rope_heads"] rope2 = Transpose <perm = [0, 2, 1, 3]> (rope1)
         ["turned"] rope3 = Tanh (rope2)
         ["rope_all"] rope = Expand (rope3, both)
         ["whole"] K0 = Concat <axis = -1> (k_own, rope)`,
      ],
      [line('k_split'), ''],
      [line('v_proj'), ''],
      [declared('v_proj'), ''],
      [line('v_split'), ''],
      [line('v_heads'), ''],
      ['Reshape (q, split)', 'Reshape (q, six)'],
      [line('k_heads'), '["k_heads"] K = Transpose <perm = [0, 1, 3, 2]> (K0)'],
    ]),
    standIns: [
      stored('q2_proj', 'q_proj', 8, 12),
      {
        suffix: 'k2_proj.weight',
        shape: [8, 3],
        weight: weight('up'),
        place: (row, at) => at * 16 + Math.floor(row / 4) * 8 + (row % 4),
      },
      stored('k2_proj.1', 'down', 8, 5, 3),
    ],
  },
  {
    ...plain,
    what: 'two sequences that attend to each other, joined behind their projections',
    text: queries(
      `["image_q"] q0 = MatMul (x, "${weight('q_proj')}")
       ["text"] t = Tanh (x)
       ["text_q"] q1 = MatMul (t, "${weight('text_q')}")
       ["joined"] q = Concat <axis = 1> (q1, q0)`,
      `  float[8, 8] "${weight('text_q')}" = {...},\n`,
    ),
    standIns: [stored('q2_proj', 'text_q'), stored('q2_proj.1', 'q_proj'), k],
  },
];

export const weightForms: readonly ProjectionForm[] = [
  {
    ...plain,
    what: 'weights that are slices of a packed one, [3 * out, in], transposed; biases likewise',
    text: variant(ATTENTION, [
      [declared('q_proj'), ''],
      [declared('k_proj'), ''],
      [
        '  float scale',
        `  float[24, 8] "${weight('in')}" = {...}, float[24] "${name('in.bias')}" = {...},
  int64[1] zero = {0}, int64[1] eight = {8}, int64[1] sixteen = {16},
  float scale`,
      ],
      [
        line('q_proj'),
        `["wq_slice"] wq0 = Slice ("${weight('in')}", zero, eight, zero)
         ["wq_turn"] wq = Transpose <perm = [1, 0]> (wq0)
         ["bq"] bq = Slice ("${name('in.bias')}", zero, eight, zero)
         ["q_mul"] q0 = MatMul (x, wq)
         ["q_bias"] q = Add (q0, bq)`,
      ],
      [
        line('k_proj'),
        `["wk_slice"] wk0 = Slice ("${weight('in')}", eight, sixteen, zero)
         ["wk_turn"] wk = Transpose <perm = [1, 0]> (wk0)
         ["bk"] bk = Slice ("${name('in.bias')}", eight, sixteen, zero)
         ["k_mul"] k0 = MatMul (x, wk)
         ["k_bias"] k = Add (k0, bk)`,
      ],
    ]),
    standIns: [
      { ...q, weight: weight('in'), place: (row, at) => row * 8 + at },
      bias('q2_proj', 'in'),
      { ...k, weight: weight('in'), place: (row, at) => (row + 8) * 8 + at },
      { ...bias('k2_proj', 'in'), place: (row) => row + 8 },
    ],
  },
  {
    ...plain,
    what: 'weights behind Split, Reshape, Gather, Identity and Cast',
    text: variant(ATTENTION, [
      [declared('q_proj'), ''],
      [declared('k_proj'), ''],
      [
        '  float scale',
        `  float[2, 64] "${weight('qk')}" = {...}, int64[2] square = {8, 8}, int64 first = {0},
  double[8, 2, 8] "${weight('wide')}" = {...}, int64 second = {1},
  float scale`,
      ],
      [
        line('q_proj'),
        `["wq_pick"] wq0 = Gather <axis = 0> ("${weight('qk')}", first)
         ["wq_square"] wq1 = Reshape (wq0, square)
         ["wq_same"] wq = Identity (wq1)
         ["q_mul"] q = MatMul (x, wq)`,
      ],
      [
        line('k_proj'),
        `["wk_pick"] wk0 = Gather <axis = 1> ("${weight('wide')}", second)
         ["wk_cast"] wk = Cast <to = 1> (wk0)
         ["k_mul"] k = MatMul (x, wk)`,
      ],
    ]),
    standIns: [
      { ...q, weight: weight('qk') },
      { ...k, weight: weight('wide'), place: (row, at) => at * 16 + 8 + row },
    ],
  },
  {
    ...plain,
    what: 'Einsum with one matrix for each head, and a bias for each head',
    text: variant(ATTENTION, [
      [declared('q_proj'), `  float[2, 8, 4] "${weight('q_proj')}" = {...},\n`],
      [declared('k_proj'), `  float[4, 8, 2] "${weight('k_proj')}" = {...},\n`],
      ['  float scale', `  float[2, 1, 4] "${name('q_proj.bias')}" = {...},\n  float scale`],
      [
        line('q_proj'),
        `["q_proj"] Q0 = Einsum <equation = "bsi,hid->bhsd"> (x, "${weight('q_proj')}")
         ["q_bias"] Q = Add (Q0, "${name('q_proj.bias')}")`,
      ],
      [line('q_split'), ''],
      [line('q_heads'), ''],
      [line('k_proj'), `["k_proj"] K = Einsum <equation = "dih,bsi->bhds"> ("${weight('k_proj')}", x)`],
      [line('k_split'), ''],
      [line('k_heads'), ''],
    ]),
    standIns: [
      perHead,
      bias('q2_proj', 'q_proj'),
      { ...k, place: (row, at) => (row % 4) * 16 + at * 2 + Math.floor(row / 4) },
    ],
  },
  {
    ...plain,
    what: 'MatMul with one matrix for each head',
    text: variant(ATTENTION, [
      [declared('q_proj'), `  float[2, 8, 4] "${weight('q_proj')}" = {...},\n`],
      ['  float scale', '  int64[1] one = {1},\n  float scale'],
      [
        line('q_proj'),
        `["x_all"] x4 = Unsqueeze (x, one)\n["q_proj"] Q = MatMul (x4, "${weight('q_proj')}")`,
      ],
      [line('q_split'), ''],
      [line('q_heads'), ''],
    ]),
    standIns: [perHead, k],
  },
  {
    ...plain,
    what: 'convolutions: a packed one of width 1, channels first',
    text: variant(ATTENTION, [
      ...['q', 'k', 'v'].map((leaf) => [declared(`${leaf}_proj`), ''] as const),
      [
        '  float scale',
        `  float[24, 8, 1] "${weight('qkv')}" = {...}, float[24] "${name('qkv.bias')}" = {...},
  int64[4] cut = {0, 2, 12, -1}, int64[3] thirds = {4, 4, 4},
  float scale`,
      ],
      [
        line('q_proj'),
        `["turn"] xc = Transpose <perm = [0, 2, 1]> (x)
         ["qkv"] c = Conv <kernel_shape = [1]> (xc, "${weight('qkv')}", "${name('qkv.bias')}")
         ["cut"] c4 = Reshape (c, cut)
         ["parts"] q_, K, v_ = Split <axis = 2> (c4, thirds)
         ["q_turn"] Q = Transpose <perm = [0, 1, 3, 2]> (q_)
         ["v_turn"] V = Transpose <perm = [0, 1, 3, 2]> (v_)`,
      ],
      ...['k_proj', 'v_proj', 'q_split', 'k_split', 'v_split', 'q_heads', 'k_heads', 'v_heads'].map(
        (node) => [line(node), ''] as const,
      ),
    ]),
    standIns: (['q', 'k'] as const).flatMap((side, part) => {
      const channel = (row: number) => Math.floor(row / 4) * 12 + part * 4 + (row % 4);
      const common = { weight: weight('qkv'), place: (row: number, at: number) => channel(row) * 8 + at };
      return [
        { ...common, suffix: `${side}2_proj.weight`, shape: [8, 8, 1] },
        { ...bias(`${side}2_proj`, 'qkv'), place: channel },
      ];
    }),
  },
  {
    ...plain,
    what: 'convolutions with a kernel, in groups',
    text: variant(ATTENTION, [
      [declared('q_proj'), `  float[8, 4, 3] "${weight('q_proj')}" = {...},\n`],
      ['  float scale', '  int64[4] channels = {0, 2, 4, -1},\n  float scale'],
      [
        line('q_proj'),
        `["turn"] xc = Transpose <perm = [0, 2, 1]> (x)
         ["q_proj"] q = Conv <kernel_shape = [3], pads = [1, 1], group = 2> (xc, "${weight('q_proj')}")`,
      ],
      [line('q_split'), '["q_split"] q_BHDS = Reshape (q, channels)'],
      [line('q_heads'), '["q_heads"] Q = Transpose <perm = [0, 1, 3, 2]> (q_BHDS)'],
    ]),
    standIns: [{ ...q, shape: [8, 4, 3], place: (row, at) => row * 12 + at }, k],
    ownFactors: true,
  },
  {
    ...plain,
    what: 'Gemm of rows that were flattened',
    text: variant(ATTENTION, [
      [
        '  float scale',
        `  float[8] "${name('q_proj.bias')}" = {...}, int64[2] rows = {-1, 8},\n  float scale`,
      ],
      [
        line('q_proj'),
        `["rows"] x2 = Reshape (x, rows)
         ["q_gemm"] q2 = Gemm <transB = 1> (x2, "${weight('q_proj')}", "${name('q_proj.bias')}")
         ["shape"] like = Shape (x)
         ["unrows"] q = Reshape (q2, like)`,
      ],
    ]),
    standIns: [{ ...q, place: (row, at) => row * 8 + at }, bias('q2_proj', 'q_proj'), k],
  },
];

/** A packed layer [q | k | v], then other lines that make `qkv` of `c`. */
function packed(lines: string, initializers: string): string {
  return variant(ATTENTION, [
    ...['q', 'k', 'v'].map((leaf) => [declared(`${leaf}_proj`), ''] as const),
    ['  float scale', `  float[8, 24] "${weight('qkv')}" = {...},\n${initializers}  float scale`],
    [
      line('q_proj'),
      `["qkv"] c = MatMul (x, "${weight('qkv')}")\n${lines}\n["parts"] q, k, v = Split <axis = -1> (qkv, eights)`,
    ],
    ...['k_proj', 'v_proj'].map((node) => [line(node), ''] as const),
  ]);
}

const packedStandIns = (['q2_proj', 'k2_proj'] as const).map(
  (suffix, part): StandIn => ({
    suffix: `${suffix}.weight`,
    shape: [8, 8],
    weight: weight('qkv'),
    place: (row, at) => at * 24 + part * 8 + row,
  }),
);

/** Operators on a packed projection as a whole. */
export const packedForms: readonly ProjectionForm[] = [
  {
    ...plain,
    what: 'a batch norm of all columns of a packed projection',
    text: packed(
      `["rows"] c2 = Reshape (c, rows)
       ["norm"] n2 = BatchNormalization <epsilon = 0.001> (c2, gamma, beta, mean, variance)
       ["like"] shape = Shape (c)
       ["unrows"] qkv = Reshape (n2, shape)`,
      `  float[24] gamma = {...}, float[24] beta = {...}, float[24] mean = {...}, int64[3] eights = {8, 8, 8},
  float[24] variance = {1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3}, int64[2] rows = {-1, 24},\n`,
    ),
    standIns: packedStandIns,
    ownFactors: true,
  },
  {
    ...plain,
    what: 'factors for all columns of a packed projection, and a gate of each element by itself',
    text: packed(
      `["factor"] d = Mul (c, factors)
       ["gate"] g = Sigmoid (d)
       ["gated"] qkv = Mul (d, g)`,
      '  float[1, 24] factors = {...}, int64[3] eights = {8, 8, 8},\n',
    ),
    standIns: packedStandIns,
    ownFactors: true,
  },
];
