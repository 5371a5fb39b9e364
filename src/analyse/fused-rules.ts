import { DataType } from '../onnx';
import { broadcast, Dim } from './dim';
import { elementType } from './element-types';
import { type Fact, frontAxis, NOTHING, type Rule, type RuleContext } from './facts';

/**
 * Operators that do what several others do: attention, and those that ONNX Runtime fuses (its ContribOperators.md, domain
 * com.microsoft). Whoever builds a model of these need not declare what flows between them.
 */

type Shape = readonly Dim[];

/** What is divided, where it divides; else nothing is known. */
function part(dim: Dim | undefined, times: number, by: number): Dim {
  return (by > 0 && dim?.times(Dim.of(times)).dividedBy(Dim.of(by))) || Dim.unknown();
}

/** The shape with another size on its last axis. */
function ending(shape: Shape, last: Dim | undefined): Shape {
  return [...shape.slice(0, -1), last ?? Dim.unknown()];
}

/** A cache [B, heads, T, width] of what is behind a past of as many heads. */
function cache(batch: Dim | undefined, heads: number, length: Dim | undefined, width: Dim | undefined): Fact {
  const unknown = Dim.unknown();
  return {
    shape: [batch ?? unknown, heads > 0 ? Dim.of(heads) : unknown, length ?? unknown, width ?? unknown],
  };
}

function longer(past: Shape | undefined, now: Dim | undefined, given: boolean): Dim | undefined {
  if (!given) return now;
  return past?.[2] && now && past[2].plus(now);
}

/**
 * ai.onnx Attention: Y has the shape of Q with the width of V, and rank 3 merges heads into the last axis; then presents
 * of keys and values, and scores [B, H, S, T].
 */
function standardAttention(context: RuleContext): readonly Fact[] {
  const [query, key, value] = [context.shape(0), context.shape(1), context.shape(2)];
  if (!query || !value) return [NOTHING];
  const apart = query.length === 4;
  const count = (shape: Shape | undefined, name: string) =>
    (apart ? shape?.[1]?.value : context.node.int(name)) ?? 0;
  const [heads, kvHeads] = [count(query, 'q_num_heads'), count(key, 'kv_num_heads')];
  const widthOf = (shape: Shape | undefined) => (apart ? shape?.[3] : part(shape?.[2], 1, kvHeads));
  const now = (shape: Shape | undefined) => shape?.[apart ? 2 : 1];
  const present = (shape: Shape | undefined, past: number) =>
    cache(
      query[0],
      kvHeads,
      longer(context.shape(past), now(shape), context.node.inputs[past] !== undefined),
      widthOf(shape),
    );
  const y = apart ? ending(query, value[3]) : ending(query, part(value[2], heads, kvHeads));
  const presents = [present(key, 4), present(value, 5)];
  const scores: Fact = {
    shape: [query[0], Dim.of(heads), now(query), presents[0]?.shape?.[2]].map((dim) => dim ?? Dim.unknown()),
  };
  return [{ shape: y }, ...presents, scores];
}

/** com.microsoft Attention and QAttention: weights [in, q | k | v]; present [2, B, heads, T, width]. */
function packedAttention(context: RuleContext): readonly Fact[] {
  const input = context.shape(0);
  if (!input) return [NOTHING];
  const { node } = context;
  const all = context.shape(1)?.[1] ?? context.shape(2)?.[0];
  const sizes = node.ints('qkv_hidden_sizes') ?? [];
  const width = sizes[2] === undefined ? part(all, 1, 3) : Dim.of(sizes[2]);
  const heads = node.int('num_heads') ?? 0;
  const past = context.shape(node.opType === 'QAttention' ? 8 : 4);
  const rest = cache(
    input[0],
    heads,
    past ? past[3] && input[1]?.plus(past[3]) : input[1],
    part(width, 1, heads),
  );
  return [{ shape: ending(input, width) }, { shape: rest.shape && [Dim.of(2), ...rest.shape] }];
}

/**
 * MultiHeadAttention: query [B, S, hidden], or [B, S, heads, 3, width] for all; key [B, T, hidden], or [B, T, heads, 2, width]
 * with the values, or [B, heads, T, width] as the values.
 */
function multiHeadAttention(context: RuleContext): readonly Fact[] {
  const { node } = context;
  const [query, key, value] = [context.shape(0), context.shape(1), context.shape(2)];
  const heads = node.int('num_heads') ?? 0;
  if (!query) return [NOTHING];
  const packed = query.length === 5;
  const width = packed ? query[4] : part(query.at(-1), 1, heads);
  const merged = width?.times(Dim.of(heads));
  const valueWidth =
    value?.length === 3 ? value[2] : value?.length === 4 ? value[3]?.times(Dim.of(heads)) : merged;
  // Values that nobody knows the shape of are not taken for as wide as the queries.
  const last = node.inputs[2] && !value ? undefined : valueWidth;
  const now = packed ? query[1] : key?.length === 4 ? key[2] : key?.[1];
  const total = longer(context.shape(6), now, node.inputs[6] !== undefined);
  return [
    { shape: [query[0] ?? Dim.unknown(), query[1] ?? Dim.unknown(), last ?? Dim.unknown()] },
    cache(query[0], heads, total, width),
    cache(query[0], heads, total, part(last, 1, heads)),
  ];
}

/** GroupQueryAttention and SparseAttention: query [B, S, hidden], or with keys and values behind the queries. */
function groupQueryAttention(context: RuleContext): readonly Fact[] {
  const { node } = context;
  const query = context.shape(0);
  const [heads, kvHeads] = [node.int('num_heads') ?? 0, node.int('kv_num_heads') ?? 0];
  if (!query) return [NOTHING];
  const all = node.inputs[1] ? heads : heads + 2 * kvHeads;
  const width = part(query.at(-1), 1, all);
  const attended = node.inputs[1] ? query : ending(query, part(query.at(-1), heads, all));
  // A present may be as long as the past it shares its memory with.
  const present = cache(query[0], kvHeads, undefined, width);
  return [{ shape: attended }, present, present];
}

/** Norms of a sum: the normed value, mean and inverse deviation, and the sum itself. */
function skipNorm(context: RuleContext): readonly Fact[] {
  const fact = { shape: context.shape(0) };
  const statistic = {
    shape: context.shape(0)?.map((dim, axis, all) => (axis === all.length - 1 ? Dim.of(1) : dim)),
  };
  return [fact, statistic, statistic, fact];
}

/** Inputs of ids [B, S] and a table [words, hidden]: the embedding, an index of the mask [B], and the sum that was normed. */
function embedding(context: RuleContext): readonly Fact[] {
  const { opType } = context.node;
  const [ids, table] = [context.shape(0), context.shape(2)];
  const shape = ids && [...ids, table?.[1] ?? Dim.unknown()];
  return [
    { shape },
    { shape: ids?.slice(0, 1) },
    ...(opType === 'EmbedLayerNormalization' ? [{ shape }] : []),
  ];
}

/** Rows of numbers of a few bits; where they are stored as bytes, one of these holds several along the quantized axis. */
function gatherBlocks(context: RuleContext): readonly Fact[] {
  const { node } = context;
  const [data, indices] = [context.shape(0), context.shape(1)];
  if (!data || !indices) return [NOTHING];
  const axis = frontAxis(node.int('gather_axis') ?? 0, data.length);
  const quantized = frontAxis(node.int('quantize_axis') ?? 1, data.length);
  const inByte = elementType(node.inputs[0]) === DataType.UINT8 ? 8 / (node.int('bits') ?? 4) : 1;
  const sizes = data.map((dim, at) => (at === quantized ? dim.times(Dim.of(inByte)) : dim));
  return [{ shape: [...sizes.slice(0, axis), ...indices, ...sizes.slice(axis + 1)] }];
}

/** A sum with a bias, half of which gates the other half. */
function gated(context: RuleContext): readonly Fact[] {
  const shape = context.shape(0);
  return [{ shape: shape && ending(shape, part(shape.at(-1), 1, 2)) }];
}

/** Sums of quantized numbers: each operand has a scale and a zero point behind it. */
function quantizedSum(context: RuleContext): readonly Fact[] {
  const [a, b] = [context.shape(0), context.shape(3)];
  return [{ shape: a && b ? broadcast(a, b) : undefined }];
}

/** The shape of the first input, of all outputs that have one. */
function like(context: RuleContext): readonly Fact[] {
  return context.node.outputs.map(() => ({ shape: context.shape(0) }));
}

function columns(attribute: string): Rule {
  return (context) => {
    const shape = context.shape(0);
    const count = context.node.int(attribute);
    return [{ shape: shape && ending(shape, count === undefined ? undefined : Dim.of(count)) }];
  };
}

/** Operators that give a tensor of the shape of their first input. */
const LIKE_FIRST = [
  'BiasAdd',
  'BiasSoftmax',
  'FusedActivation',
  'GroupNorm',
  'LongformerAttention',
  'MoE',
  'QLinearLeakyRelu',
  'QLinearSigmoid',
  'QLinearSoftmax',
  'QMoE',
  'SkipGroupNorm',
];

export const fusedRules: Record<string, Rule> = {
  ...Object.fromEntries(LIKE_FIRST.map((op): [string, Rule] => [op, like])),
  Attention: (context) => (context.node.domain === '' ? standardAttention : packedAttention)(context),
  BiasSplitGelu: gated,
  EmbedLayerNormalization: embedding,
  GatherBlockQuantized: gatherBlocks,
  GroupQueryAttention: groupQueryAttention,
  MatMulBnb4: columns('N'),
  MatMulNBits: columns('N'),
  MultiHeadAttention: multiHeadAttention,
  DecoderMaskedMultiHeadAttention: multiHeadAttention,
  QAttention: packedAttention,
  QLinearAdd: quantizedSum,
  QLinearMul: quantizedSum,
  SkipLayerNormalization: skipNorm,
  SkipSimplifiedLayerNormalization: skipNorm,
  SparseAttention: groupQueryAttention,
};
