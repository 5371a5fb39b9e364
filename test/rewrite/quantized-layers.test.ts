/**
 * What static quantization puts around the layers of an attention: weights and biases behind DequantizeLinear, and a
 * QuantizeLinear with its DequantizeLinear behind whatever is computed, caches of keys among it; with operators of the
 * standard, and of com.microsoft.
 */
import { type RewriteFileSettings, rewriteModel } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import type { Model } from '../../src/ir';
import type { Fill } from '../../src/ir/text';
import { decodeFloats } from '../../src/onnx';
import { ATTENTION, line, variant } from '../support/attention-text';
import { randomFill } from '../support/fixtures';
import { modelPath, rewriteText, textBytes, thrownBy } from '../support/models';
import { Draft } from '../verify/support/draft';
import { failedChecks, findingsOf, pairOfModel } from '../verify/support/pairs';

const [Q, K] = ['"layers.0.attn.q_proj.weight"', '"layers.0.attn.k_proj.weight"'];

/** Integers where the text has stored ones, numbers from -1 to 1 elsewhere. */
const levels: Fill = (tensor, count) => {
  const values = Array.from(randomFill(0)(tensor, count));
  return tensor.includes('stored') ? values.map((value) => 128 + Math.round(value * 100)) : values;
};

/** A QuantizeLinear and a DequantizeLinear behind a value, with the scale and zero point that all texts here have. */
function rounded(name: string, from: string, to: string, domain: string): string {
  return `["${name}_q"] ${to}_q = ${domain}QuantizeLinear (${from}, step, middle)
    ["${name}_dq"] ${to} = ${domain}DequantizeLinear (${to}_q, step, middle)`;
}

const STEP = 'float step = {0.03125}, uint8 middle = {128},\n  float scale';

/** A Gemm as GPT-2 has it: a weight with a scale for each column, and a bias of 32 bits whose scale is that of the sums. */
function gemm(domain: string, attributes = 'transB: int = 0'): string {
  const scales = [1, 2, 1, 2, 1, 2, 1, 3].map((each) => each / 128);
  return variant(ATTENTION, [
    [
      line('q_proj'),
      `["flat"] x2 = Reshape (x, flat)
       ${rounded('x', 'x2', 'x3', domain)}
       ["weight"] wide = ${domain}DequantizeLinear <axis: int = 1> ("q_stored", "q_scales", "q_middles")
       ["bias"] bias = ${domain}DequantizeLinear <axis: int = 0> ("q_bias", "q_bias_scales", "q_bias_zeros")
       ["q_proj"] q2 = Gemm <${attributes}> (x3, wide, bias)
       ${rounded('sum', 'q2', 'q3', domain)}
       ["back"] q = Reshape (q3, like)`,
    ],
    [
      `  float[8, 8] ${Q} = {...},\n`,
      `  uint8[8, 8] q_stored = {...}, float[8] q_scales = {${scales}}, uint8[8] q_middles = {${Array(8).fill(128)}},
       int32[8] q_bias = {40, -500, 600, 70, -800, 900, 10, 200},
       float[8] q_bias_scales = {${scales.map((each) => each / 32)}}, int32[8] q_bias_zeros = {${Array(8).fill(0)}},\n`,
    ],
    ['  float scale', `  int64[2] flat = {-1, 8}, int64[3] like = {1, -1, 8}, ${STEP}`],
  ]).replaceAll('float[B, S, 8]', 'float[1, S, 8]');
}

/**
 * Packed projections as timm has them, with a bias in 8 bits added behind a product that was rounded. ONNX Runtime rounds
 * no sums of what has a scale for each column.
 */
function packed(domain: string, scales: string): string {
  const several = scales.includes(',');
  return variant(ATTENTION, [
    [
      line('q_proj'),
      `["weight"] wide = ${domain}DequantizeLinear (qkv_stored, step, weight_middle)
       ["bias"] bias = ${domain}DequantizeLinear <axis: int = 0> (bias_stored, bias_scale${several ? '' : ', weight_middle'})
       ["qkv_proj"] product = MatMul (x, wide)
       ${rounded('product', 'product', 'product2', domain)}
       ["add"] ${several ? 'qkv' : 'sum'} = Add (product2, bias)
       ${several ? '' : rounded('sum', 'sum', 'qkv', domain)}
       ["apart"] q, k, v = Split <axis = -1> (qkv, thirds)`,
    ],
    [`${line('k_proj')}\n`, ''],
    [`${line('v_proj')}\n`, ''],
    [`  float[8, 8] ${Q} = {...},\n`, ''],
    [`  float[8, 8] ${K} = {...},\n`, ''],
    [
      '  float[8, 8] "layers.0.attn.v_proj.weight" = {...},\n',
      `  uint8[8, 24] qkv_stored = {...}, uint8[24] bias_stored = {...}, int64[3] thirds = {8, 8, 8}, uint8 weight_middle = {128},
       float${several ? '[24]' : ''} bias_scale = {${scales}},\n`,
    ],
    ['  float scale', `  ${STEP}`],
  ]);
}

const COLUMNS = Array.from({ length: 24 }, (_, column) => (1 + (column % 5)) / 256).join(', ');

/** Keys that are joined with those of earlier tokens, rounded as they come in and as they go out. */
function cached(domain: string, past = rounded('past', 'past_key', 'earlier', domain)): string {
  const shape = (length: string) => `float[B, 2, ${length}, 4]`;
  return variant(ATTENTION, [
    ['(float[B, S, 8] x)', `(float[B, S, 8] x, ${shape('P')} past_key, ${shape('P')} past_value)`],
    ['(float[B, S, 8] y)', `(float[B, S, 8] y, ${shape('T')} present_key, ${shape('T')} V)`],
    [
      line('k_heads'),
      `["k_turn"] k_BHSD = Transpose <perm = [0, 2, 1, 3]> (k_BSHD)
       ${rounded('k', 'k_BHSD', 'new', domain)}
       ${past}
       ["cat"] all = Concat <axis = 2> (earlier, new)
       ${rounded('present', 'all', 'present_key', domain)}
       ["k_heads"] K = Transpose <perm = [0, 1, 3, 2]> (present_key)`,
    ],
    [
      line('v_heads'),
      `["v_heads"] v_BHSD = Transpose <perm = [0, 2, 1, 3]> (v_BSHD)
       ["v_cat"] V = Concat <axis = 2> (past_value, v_BHSD)`,
    ],
    ['  float scale', `  ${STEP}`],
  ]);
}

/** Floats that are rounded as they are read, as after training for quantization: column by column, by the scales given. */
function trained(domain: string, read = 'scales'): string {
  return variant(ATTENTION, [
    [
      line('q_proj'),
      `["other"] others = Neg (scales)
       ["round"] wq = ${domain}QuantizeLinear <axis: int = 1> (${Q}, scales, zeros)
       ["widen"] wide = ${domain}DequantizeLinear <axis: int = 1> (wq, ${read}, zeros)
       ${rounded('x', 'x', 'x2', domain)}
       ["q_proj"] q2 = MatMul (x2, wide)
       ${rounded('q', 'q2', 'q', domain)}`,
    ],
    [
      '  float scale',
      `  float[8] scales = {${[1, 2, 1, 2, 1, 2, 1, 3].map((each) => each / 128)}},
       int8[8] zeros = {0, 0, 0, 0, 0, 0, 0, 0}, ${STEP}`,
    ],
  ]);
}

/** A stored weight that is rounded once more behind an Identity, as where several layers of a model share one. */
function again(domain: string): string {
  return variant(ATTENTION, [
    [
      line('q_proj'),
      `["widen"] wide = ${domain}DequantizeLinear (q_stored, step, middle)
       ["same"] same = Identity (wide)
       ${rounded('again', 'same', 'twice', domain)}
       ${rounded('x', 'x', 'x2', domain)}
       ["q_proj"] q2 = MatMul (x2, twice)
       ${rounded('q', 'q2', 'q', domain)}`,
    ],
    [`  float[8, 8] ${Q} = {...},\n`, '  uint8[8, 8] q_stored = {...},\n'],
    ['  float scale', `  ${STEP}`],
  ]);
}

/** The same where what is kept from run to run is what was rounded. */
function cachedRounded(domain: string): string {
  const dequantize = `["past_dq"] earlier = ${domain}DequantizeLinear (past_key, step, middle)`;
  return variant(cached(domain, dequantize), [
    ['float[B, 2, P, 4] past_key', 'uint8[B, 2, P, 4] past_key'],
    ['float[B, 2, T, 4] present_key', 'uint8[B, 2, T, 4] present_key_q'],
  ]);
}

/** A weight with a scale for each block of four numbers along an axis: 0 is that of the features, 1 that of the columns. */
function inBlocks(axis: 0 | 1, zeros: 'zeros' | 'none'): string {
  const shape = axis === 0 ? '2, 8' : '8, 2';
  const scales = Array.from({ length: 16 }, (_, at) => (1 + (at % 5)) / 128);
  const middles = `, uint8[${shape}] q_middles = {${Array.from({ length: 16 }, (_, at) => 126 + (at % 3))}}`;
  return variant(ATTENTION, [
    ['"" : 17', '"" : 21'],
    ['ir_version: 8', 'ir_version: 10'],
    [
      line('q_proj'),
      `["weight"] wide = DequantizeLinear <axis: int = ${axis}, block_size: int = 4> (q_stored, q_scales${zeros === 'zeros' ? ', q_middles' : ''})
       ["q_proj"] q = MatMul (x, wide)`,
    ],
    [
      `  float[8, 8] ${Q} = {...},\n`,
      `  uint8[8, 8] q_stored = {...}, float[${shape}] q_scales = {${scales}}${zeros === 'zeros' ? middles : ''},\n`,
    ],
  ]);
}

const STANDARD = '';
const CONTRIB = 'com.microsoft.';

const wide = (text: string) =>
  text.replace('uint8 middle = {128}', 'uint16 middle = {32768}').replace('{0.03125}', '{0.001}');

const forms: readonly (readonly [what: string, text: string])[] = [
  ['a Gemm', gemm(STANDARD)],
  ['a Gemm of com.microsoft', gemm(CONTRIB)],
  ['a Gemm, 16 bits between layers', wide(gemm(CONTRIB))],
  ['a packed bias', packed(STANDARD, '0.0078125')],
  ['a packed bias with a scale for each column', packed(STANDARD, COLUMNS)],
  ['a packed bias of com.microsoft', packed(CONTRIB, COLUMNS)],
  ['a packed bias, 16 bits between layers', wide(packed(CONTRIB, '0.0078125'))],
  ['a cache', cached(STANDARD)],
  ['a cache of com.microsoft', cached(CONTRIB)],
  ['a cache that is kept in 8 bits', cachedRounded(STANDARD)],
  ['a cache of 16 bits', wide(cached(CONTRIB))],
  ['floats rounded as they are read', trained(STANDARD)],
  ['floats rounded by com.microsoft', trained(CONTRIB)],
  ['a weight that is rounded twice', again(STANDARD)],
  ['a weight in blocks', inBlocks(0, 'zeros')],
  ['a weight in blocks without zero points', inBlocks(0, 'none')],
];

const SETTINGS: readonly RewriteFileSettings[] = [
  {},
  { init: 'preserve' },
  { init: 'mirror', sublayerNorm: false },
  { init: 'zero', sublayerNorm: false },
  { splitHeads: true },
  { preset: 'v2' },
];

describe.each(forms)('%s', (_, text) => {
  const file = modelPath(textBytes(text, levels));

  test.each(SETTINGS)('%j is verified', async (settings) => {
    const report = await verifyModels(file, pairOfModel(file, settings).rewritten);
    expect(findingsOf(report)).toEqual([]);
    expect(report.passed).toBe(true);
  });
});

function stored(model: Model, name: string): Uint8Array {
  const tensor = model.graph.values.get(name)?.initializer;
  if (!tensor) throw new Error(`no ${name}`);
  return model.bytes(tensor);
}

describe('a second Gemm', () => {
  const file = modelPath(textBytes(gemm(STANDARD), levels));
  const PARTS = [
    ['weight', 'q_stored'],
    ['weight_scale', 'q_scales'],
    ['weight_zero_point', 'q_middles'],
    ['bias', 'q_bias'],
    ['bias_scale', 'q_bias_scales'],
    ['bias_zero_point', 'q_bias_zeros'],
  ] as const;

  test('of the same weights is stored byte for byte as the first', () => {
    const { model } = rewriteModel(file, { init: 'mirror' });
    for (const [suffix, own] of PARTS)
      expect([suffix, stored(model, `layers.0.attn.q2_proj.${suffix}`)]).toEqual([
        suffix,
        stored(model, own),
      ]);
  });

  test('of other weights begins with no bias, counted in the steps of its sums', () => {
    const { model } = rewriteModel(file);
    const floats = (name: string) => [...decodeFloats(1, stored(model, name))];
    const second = (suffix: string) => `layers.0.attn.q2_proj.${suffix}`;
    expect(new Set(stored(model, second('bias')))).toEqual(new Set([0]));
    expect(new Set(stored(model, second('weight'))).size).toBeGreaterThan(20);
    const scales = floats(second('weight_scale'));
    floats(second('bias_scale')).forEach((scale, column) => {
      expect(scale).toBeCloseTo((scales[column] ?? 0) / 32, 9);
    });
  });

  test('with another bias than diffx wrote is found', async () => {
    const { original, rewritten } = pairOfModel(file, { init: 'preserve' });
    const draft = new Draft(rewritten);
    draft.weight('layers.0.attn.q2_proj.bias', (bytes) => bytes.reverse());
    const report = await verifyModels(original, draft.write());
    expect(failedChecks(report)).toEqual(expect.arrayContaining(['parameters', 'function']));
  });
});

test('floats that are rounded as they are read are floats in the second projection as well', () => {
  const { model } = rewriteText(trained(STANDARD));
  const weight = model.graph.values.get('layers.0.attn.q2_proj.weight')?.initializer;
  const numbers = decodeFloats(1, stored(model, 'layers.0.attn.q2_proj.weight'));
  expect(weight?.dims.map(Number)).toEqual([8, 8]);
  expect(Math.max(...numbers.map(Math.abs))).toBeGreaterThan(0.3);
  expect(Math.max(...numbers.map(Math.abs))).toBeLessThanOrEqual(1 / Math.sqrt(8));
});

test('packed biases: each side has the numbers of its own columns', () => {
  const { model } = rewriteModel(modelPath(textBytes(packed(STANDARD, COLUMNS), levels)), { init: 'mirror' });
  const whole = stored(model, 'bias_stored');
  const added = [...model.graph.values.keys()].filter((name) => name.includes('/add/'));
  const sides = added.map((name) => [...stored(model, name)]).filter(({ length }) => length === 8);
  expect(sides).toEqual([[...whole.slice(0, 8)], [...whole.slice(8, 16)]]);
});

test('a doubled cache holds each component as it was rounded', () => {
  const { model } = rewriteText(cached(STANDARD));
  const present = model.graph.values.get('present_key')?.producer;
  expect(present?.operator).toBe('Concat');
  expect(present?.inputs.map((value) => value?.producer?.operator)).toEqual([
    'DequantizeLinear',
    'DequantizeLinear',
  ]);
});

describe('refused, with the reason', () => {
  const refused: readonly (readonly [what: string, text: string, reason: string])[] = [
    ['a Gemm that scales its sums', gemm(STANDARD, 'alpha: float = 0.5'), 'projection-form'],
    [
      'a weight whose scale is computed',
      gemm(STANDARD)
        .replace('["weight"]', '["half"] halves = Neg (q_scales)\n["weight"]')
        .replace('"q_scales", "q_m', 'halves, "q_m'),
      'weight-not-constant',
    ],
    ['floats that are rounded and read by other scales', trained(STANDARD, 'others'), 'weight-not-constant'],
    [
      'a packed bias whose scale is computed',
      packed(STANDARD, COLUMNS)
        .replace('["bias"]', '["less"] other = Neg (bias_scale)\n["bias"]')
        .replace('(bias_stored, bias_scale)', '(bias_stored, other)'),
      'columns-mixed',
    ],
    ['a weight in blocks of columns', inBlocks(1, 'zeros'), 'weight-not-constant'],
    ['past keys that are computed with', cached(STANDARD, '["past"] earlier = Relu (past_key)'), 'cache'],
  ];

  test.each(refused)('%s', (_, text, reason) => {
    const file = modelPath(textBytes(text, levels));
    expect(thrownBy(() => rewriteModel(file)).reasons).toEqual([reason]);
  });
});
