/** What a random attention is made of. The plainest choice comes first everywhere: that is where fast-check shrinks to. */
import fc from 'fast-check';

export interface AttentionCase {
  readonly form:
    | 'written out'
    | 'Attention'
    | 'MultiHeadAttention'
    | 'GroupQueryAttention'
    | 'packed Attention';
  readonly opset: number;
  readonly half: boolean;
  readonly layers: number;
  readonly batch: number;
  /** Rows of queries; of cached keys; of the memory that keys and values come from (0: from the queries' own input). */
  readonly length: number;
  readonly past: number;
  readonly memory: number;
  readonly kvHeads: number;
  /** Query heads for each key head, and the order in which they stand. */
  readonly group: number;
  readonly order: 'repeated' | 'tiled';
  readonly width: number;
  readonly valueWidth: number;
  readonly hidden: number;
  /** Whether the graph leaves batch and lengths open. */
  readonly dynamic: boolean;
  readonly sequenceFirst: boolean;
  readonly packing: 'separate' | 'q|k|v' | 'q, k|v' | '[3, h, d]' | '[h, 3, d]' | '[g, r + 2, d]';
  readonly linear: 'MatMul' | 'Gemm' | 'MatMul of a Transpose';
  readonly biases: 'none' | 'all' | 'no keys';
  readonly norm: 'none' | 'RMS of heads' | 'RMS of all' | 'LayerNorm of heads' | 'length 1';
  readonly rotary: 'none' | 'halves' | 'pairs' | 'halves of some' | 'pairs of some';
  readonly positions: 'table' | 'stored' | 'computed';
  readonly scale: 'behind' | 'none' | 'divided' | 'queries' | 'keys' | 'both' | 'by shape';
  readonly core: '4d' | '3d' | '5d' | 'Einsum';
  readonly product: 'MatMul' | 'FusedMatMul' | 'keys first' | 'values first';
  readonly cache: 'none' | 'joined' | 'shown';
  readonly cacheAxes: 'B g T d' | 'B T g d' | 'B g d T';
  readonly mask:
    | 'none'
    | 'additive'
    | 'padding'
    | 'boolean'
    | 'causal'
    | 'causal and padding'
    | 'window'
    | 'hidden rows';
  readonly hiding: 'minimum' | '-10000' | '-inf';
  readonly bias: 'none' | 'slopes' | 'table';
  readonly cap: boolean;
  readonly sinks: boolean;
  readonly softmax:
    | 'plain'
    | 'in float32'
    | 'axis 3'
    | 'Exp of LogSoftmax'
    | 'written out'
    | 'less the largest';
  readonly showsMap: boolean;
  /** What is asked of the rewrite. */
  readonly sublayerNorm: boolean;
  readonly mix: boolean;
  readonly emit: 'function' | 'inline';
  readonly seed: number;
  readonly numbers: readonly number[];
}

const any = fc.constantFrom;

/** Random attentions; parts that exclude one another are brought into agreement by `agreeing`. */
export const attentionCases: fc.Arbitrary<AttentionCase> = fc
  .record<AttentionCase>({
    form: fc.oneof(
      { weight: 7, arbitrary: fc.constant('written out' as const) },
      {
        weight: 3,
        arbitrary: any('Attention', 'MultiHeadAttention', 'GroupQueryAttention', 'packed Attention'),
      },
    ),
    opset: any(17, 13, 14, 15, 16, 18, 19, 20, 21, 22, 23),
    half: any(false, false, false, true),
    layers: any(1, 1, 2),
    batch: any(1, 2),
    length: any(1, 2, 3, 4),
    past: any(1, 2, 3),
    memory: any(0, 0, 0, 3, 5),
    kvHeads: any(1, 2, 2, 2, 3, 4),
    group: any(1, 1, 2, 3),
    order: any('repeated', 'repeated', 'tiled'),
    width: any(2, 4, 6),
    valueWidth: any(0, 0, 3, 5),
    hidden: any(4, 6, 7),
    dynamic: fc.boolean(),
    sequenceFirst: any(false, false, true),
    packing: any('separate', 'separate', 'q|k|v', 'q, k|v', '[3, h, d]', '[h, 3, d]', '[g, r + 2, d]'),
    linear: any('MatMul', 'Gemm', 'MatMul of a Transpose'),
    biases: any('none', 'all', 'no keys'),
    norm: any('none', 'none', 'none', 'RMS of heads', 'RMS of all', 'LayerNorm of heads', 'length 1'),
    rotary: any('none', 'none', 'halves', 'pairs', 'halves of some', 'pairs of some'),
    positions: any('table', 'stored', 'computed'),
    scale: any('behind', 'none', 'divided', 'queries', 'keys', 'both', 'by shape'),
    core: any('4d', '4d', '3d', '5d', 'Einsum'),
    product: any('MatMul', 'MatMul', 'MatMul', 'FusedMatMul', 'keys first', 'values first'),
    cache: any('none', 'none', 'joined', 'shown'),
    cacheAxes: any('B g T d', 'B g T d', 'B T g d', 'B g d T'),
    mask: any(
      'none',
      'additive',
      'padding',
      'boolean',
      'causal',
      'causal and padding',
      'window',
      'hidden rows',
    ),
    hiding: any('minimum', '-10000', '-inf'),
    bias: any('none', 'none', 'slopes', 'table'),
    cap: any(false, false, false, true),
    sinks: any(false, false, false, true),
    softmax: any(
      'plain',
      'plain',
      'in float32',
      'axis 3',
      'Exp of LogSoftmax',
      'written out',
      'less the largest',
    ),
    showsMap: any(false, false, false, true),
    sublayerNorm: fc.boolean(),
    mix: any(false, false, true),
    emit: any('function', 'inline'),
    seed: fc.nat({ max: 1000 }),
    numbers: fc.array(fc.nat({ max: 1000 }), { minLength: 40, maxLength: 40 }),
  })
  .map(agreeing);

type Changes = { -readonly [K in keyof AttentionCase]?: AttentionCase[K] };

/** The nearest case whose parts go together. */
function agreeing(wish: AttentionCase): AttentionCase {
  let plan = wish;
  const set = (condition: boolean, changes: Changes) => {
    if (condition) plan = { ...plan, ...changes };
  };
  set(plan.rotary.endsWith('some'), { width: Math.max(plan.width, 6) });
  set(plan.rotary.startsWith('pairs'), { width: Math.max(plan.width, 4) });
  set(plan.valueWidth === 0 || (plan.kvHeads === 1 && plan.valueWidth === 1), { valueWidth: plan.width });
  set(true, besideOperator(plan));
  set(plan.memory > 0, {
    cache: 'none',
    rotary: 'none',
    packing: plan.packing === 'separate' ? 'separate' : 'q, k|v',
    mask: ['additive', 'boolean', 'padding'].includes(plan.mask) ? plan.mask : 'none',
    bias: 'none',
  });
  set(plan.cache !== 'joined', { past: 0 });
  // a single head beside a batch of one is an axis like any other
  set(plan.cache !== 'none' && plan.kvHeads === 1, { dynamic: true });
  set(plan.cache === 'none', { cacheAxes: 'B g T d' });
  set(['[3, h, d]', '[h, 3, d]'].includes(plan.packing), { group: 1, valueWidth: plan.width });
  set(plan.packing === '[g, r + 2, d]', { order: 'repeated', valueWidth: plan.width });
  set(plan.group === 1, { order: 'repeated' });
  set(plan.core === '5d' && (plan.order === 'tiled' || plan.group === 1), { core: '4d' });
  set(plan.core !== '4d', { product: 'MatMul', showsMap: false });
  set(plan.norm === 'RMS of all' && !['separate', 'q|k|v', 'q, k|v'].includes(plan.packing), {
    norm: 'RMS of heads',
  });
  set(plan.mask === 'hidden rows', { hiding: '-inf', sinks: false, showsMap: false, bias: 'none' });
  set(plan.mask === 'padding' || plan.half, { hiding: plan.hiding === '-inf' ? 'minimum' : plan.hiding });
  set(plan.half && plan.mask === 'hidden rows', { mask: 'none' });
  set(plan.opset < 14 && plan.mask === 'window', { mask: 'causal' });
  set(plan.sinks, { showsMap: false, core: plan.core === '3d' ? '4d' : plan.core });
  set(plan.dynamic && plan.positions === 'stored', { positions: 'table' });
  set(!plan.half && plan.softmax === 'in float32', { softmax: 'plain' });
  set(plan.half && ['written out', 'less the largest'].includes(plan.softmax), { softmax: 'plain' });
  set(plan.core === '3d' && plan.softmax === 'axis 3', { softmax: 'plain' });
  // a map that is an output beside its own transpose is refused
  set(plan.product === 'values first', { showsMap: false });
  set(plan.showsMap, { layers: 1 });
  return plan;
}

/** What stands around a fused operator; much of what is written out elsewhere is inside of it. */
function besideOperator(plan: AttentionCase): Changes {
  const common: Changes = {
    core: '4d',
    product: 'MatMul',
    showsMap: false,
    softmax: 'plain',
    sinks: false,
    bias: 'none',
    order: 'repeated',
    // the factor of each head would stand inside the operator
    norm: plan.norm === 'length 1' ? 'RMS of heads' : plan.norm,
    cacheAxes: 'B g T d',
    scale: ['none', 'by shape'].includes(plan.scale) ? plan.scale : 'behind',
  };
  const plainMask = ['none', 'additive', 'boolean'].includes(plan.mask) ? plan.mask : 'causal';
  switch (plan.form) {
    case 'Attention': {
      const cap = plan.cap && plan.past === 0;
      // ONNX Runtime 1.30 crashes on float16 now and then
      return { ...common, opset: 23, half: false, cap, mask: cap ? 'none' : plainMask };
    }
    case 'MultiHeadAttention': {
      const mask = plan.mask === 'padding' ? 'padding' : plainMask;
      // ONNX Runtime wants cached values as wide as keys
      const valueWidth = plan.cache === 'joined' ? plan.width : plan.valueWidth;
      return { ...common, group: 1, half: false, cap: false, mask, hiding: '-10000', valueWidth };
    }
    case 'GroupQueryAttention':
      return {
        ...common,
        memory: 0,
        half: false,
        // ONNX Runtime takes a single head for packed projections
        group: plan.kvHeads === 1 ? Math.max(2, plan.group) : plan.group,
        width: 16,
        valueWidth: 16,
        mask: plan.mask === 'window' ? 'window' : 'causal',
        // with sizes that it knows, ONNX Runtime takes present keys for as long as past ones, and reuses their memory
        dynamic: plan.dynamic || plan.cache === 'joined',
        batch: plan.cache === 'joined' && plan.length > 1 ? 1 : plan.batch,
      };
    case 'packed Attention':
      return {
        ...common,
        group: 1,
        half: false,
        cap: false,
        memory: 0,
        cache: 'none',
        norm: 'none',
        rotary: 'none',
        packing: 'separate',
        // ONNX Runtime 1.30 crashes without biases
        biases: plan.biases === 'none' ? 'all' : plan.biases,
        hiding: '-10000',
        mask: plan.mask === 'padding' ? 'padding' : plainMask,
      };
    default:
      return {};
  }
}

/** Sizes of labels: B batch, S rows, T keys, P cached keys, g key heads, r query heads of each, d and e widths, M hidden. */
export function sizesOf(plan: AttentionCase): Readonly<Record<string, number>> {
  const keys = plan.memory > 0 ? plan.memory : plan.past + plan.length;
  return {
    B: plan.batch,
    S: plan.length,
    T: keys,
    P: plan.past,
    g: plan.kvHeads,
    r: plan.group,
    d: plan.width,
    e: plan.valueWidth,
    M: plan.hidden,
  };
}

/** The labels of query heads in the order in which they stand. */
export function headLabels({ order }: AttentionCase): readonly string[] {
  return order === 'repeated' ? ['g', 'r'] : ['r', 'g'];
}

/** The factor on the scores. */
export function scaleOf(plan: AttentionCase): number {
  return plan.scale === 'none' ? 1 : plan.scale === 'by shape' ? 1 / Math.sqrt(plan.width) : 0.4;
}

export const CAP = 2.5;
export const NORM_EPSILON = 1e-5;

/** What hidden scores get. */
export function hiddenScore({ hiding, half }: AttentionCase): number {
  if (hiding === '-inf') return Number.NEGATIVE_INFINITY;
  return hiding === '-10000' ? -10000 : half ? -65504 : -3.4028234663852886e38;
}

/** How many columns the rotary embedding turns. */
export function rotaryWidth({ rotary, width }: AttentionCase): number {
  return rotary === 'none' ? 0 : rotary.endsWith('some') ? 4 : width;
}

export const isInterleaved = ({ rotary }: AttentionCase) => rotary.startsWith('pairs');
