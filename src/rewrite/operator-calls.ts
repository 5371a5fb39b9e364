import { elementType } from '../analyse';
import type { LocatedSite } from '../attention/find';
import { isDoubled, type Pairing, presetOf } from '../attention/presets';
import { columnsOf, type OperatorCore } from '../attention/site';
import type { Node, Value } from '../ir';
import { fail } from '../match/outcome';
import { attribute } from './attributes';
import type { Builder } from './builder';
import { cloneSlice, type Substitution } from './clone';
import { partnerOf } from './pairing';
import type { RewriteSession } from './session';
import { floatTensor, int64Vector } from './tensors';

/** Further calls of a fused attention operator, and their inputs. */

/**
 * Adds another call. What it gives is declared as what the first one gives: ONNX Runtime believes that what GroupQueryAttention
 * caches is as long as its past, unless it is told, and lets both share their memory where the past is no input of the model.
 */
export function callAgain(
  builder: Builder,
  node: Node,
  inputs: readonly (Value | undefined)[],
  suffix: string,
): (Value | undefined)[] {
  const outputs = builder.copy(node, inputs, suffix);
  outputs.forEach((output, index) => {
    if (output) builder.graph.setType(output, node.outputs[index]?.type);
  });
  return outputs;
}

const END = 2 ** 31 - 1;

function columnsFrom(builder: Builder, value: Value, from: number, to: number, axis: number): Value {
  return builder.op('Slice', [value, builder.ints([from]), builder.ints([to]), builder.ints([axis])]);
}

/** The inputs of the call that gives the negative component: second queries and keys, the model's own values. */
export function negativeInputs(
  site: LocatedSite,
  core: OperatorCore,
  session: RewriteSession,
  substitution: Substitution,
  builder: Builder,
): (Value | undefined)[] {
  const inputs = [...core.node.inputs];
  if (core.weightIndex !== undefined) return packedInputs(site, core, core.weightIndex, session, builder);
  const keyed = isDoubled(session.options, 'key');
  inputs[core.queryIndex] = cloneSlice(site.query.operand, substitution, builder);
  // Keys that are fed have become the positive half of what is fed.
  const key = inputs[core.keyIndex];
  if (keyed && key) inputs[core.keyIndex] = cloneSlice(key, substitution, builder);
  const bias = core.biasIndex === undefined ? undefined : inputs[core.biasIndex];
  if (core.biasIndex !== undefined && bias) {
    // Second queries and keys have their bias already.
    const width = secondWidth(site, session);
    const none = builder.constant(
      `${site.path}/no_bias`,
      floatTensor(elementType(bias) ?? site.dataType, [width], new Float32Array(width)),
    );
    inputs[core.biasIndex] = builder.concat([none, columnsFrom(builder, bias, width, END, 0)], 0);
  }
  return inputs;
}

/** Columns of [q | k | v] that the negative component has its own of. */
function secondWidth({ query, key }: LocatedSite, { options }: RewriteSession): number {
  return columnsOf(query) + (isDoubled(options, 'key') ? columnsOf(key) : 0);
}

/** The operator projects by itself: its weights [in, q | k | v] with those of the negative component. */
function packedInputs(
  site: LocatedSite,
  core: OperatorCore,
  weightIndex: number,
  session: RewriteSession,
  builder: Builder,
): (Value | undefined)[] {
  const inputs = [...core.node.inputs];
  const width = secondWidth(site, session);
  const weight = inputs[weightIndex];
  if (!weight) throw new Error(`${core.node.label}: no weights`);
  const names = isDoubled(session.options, 'key') ? ['q2_proj', 'k2_proj'] : ['q2_proj'];
  const second = (part: string) => names.map((name) => session.parameters.get(site, `${name}.${part}`));
  const columns = second('weight').map((value) => builder.transpose(value, [1, 0]));
  inputs[weightIndex] = builder.concat([...columns, columnsFrom(builder, weight, width, END, 1)], 1);
  const bias = core.biasIndex === undefined ? undefined : inputs[core.biasIndex];
  if (core.biasIndex !== undefined && bias) {
    const kept = columnsFrom(builder, bias, width, END, 0);
    inputs[core.biasIndex] = builder.concat([...second('bias'), kept], 0);
  }
  return inputs;
}

/** Exchanges the value heads of each pair on an axis of `count` heads, each of `width` elements. */
function exchange(builder: Builder, value: Value, axis: number, heads: HeadsOnAxis): Value {
  const { count, width, stored, pairing } = heads;
  const group = count / stored;
  const partner = (head: number) =>
    partnerOf(pairing, stored, Math.floor(head / group)) * group + (head % group);
  const order = Array.from({ length: count }, (_, head) => partner(head));
  if (order.every((head, index) => head === (index + count / 2) % count)) {
    const [first, second] = builder.halves(value, axis, (count / 2) * width);
    return builder.concat([second, first], axis);
  }
  const elements = order.flatMap((head) => Array.from({ length: width }, (_, at) => head * width + at));
  const indices = builder.constant(`${builder.prefix}/exchanged_heads`, int64Vector(elements));
  return builder.op('Gather', [value, indices], { attributes: [attribute.int('axis', axis)] });
}

interface HeadsOnAxis {
  /** Heads on the axis: the stored ones, or each repeated for its group of query heads. */
  readonly count: number;
  /** Elements of each on the axis. */
  readonly width: number;
  readonly stored: number;
  readonly pairing: Pairing;
}

/** Exchanges heads behind the first `from` columns. */
function exchangeTail(builder: Builder, value: Value, axis: number, from: number, heads: HeadsOnAxis): Value {
  const head = columnsFrom(builder, value, 0, from, axis);
  return builder.concat(
    [head, exchange(builder, columnsFrom(builder, value, from, END, axis), axis, heads)],
    axis,
  );
}

/** The inputs of the call in which every query head sees the values of its partner. */
export function exchangedInputs(
  site: LocatedSite,
  core: OperatorCore,
  session: RewriteSession,
  builder: Builder,
): (Value | undefined)[] {
  const inputs = [...core.node.inputs];
  const keyed = columnsOf(site.query) + columnsOf(site.key);
  const { kvHeads: stored, valueWidth: width } = site;
  const { pairing } = presetOf(session.options);
  const merged = { count: stored, width, stored, pairing };
  if (core.biasIndex !== undefined) {
    const bias = inputs[core.biasIndex];
    if (bias) inputs[core.biasIndex] = exchangeTail(builder, bias, 0, keyed, merged);
  }
  if (core.weightIndex !== undefined) {
    const weight = inputs[core.weightIndex];
    if (weight) inputs[core.weightIndex] = exchangeTail(builder, weight, 1, keyed, merged);
    return inputs;
  }
  if (core.merged) {
    inputs[core.valueIndex] = exchange(builder, core.values, 2, merged);
  } else {
    const count = session.found.analysis.shapes.shape(core.values)?.[1]?.value;
    if (count === undefined || ![1, stored, site.heads].includes(count)) {
      const wanted =
        site.heads === stored ? `${stored} value heads` : `${stored} or ${site.heads} value heads`;
      fail('heads-do-not-divide', core.node, wanted, `${count ?? 'an unknown number'}`);
    }
    const own = { count, width: 1, stored, pairing };
    if (count > 1) inputs[core.valueIndex] = exchange(builder, core.values, 1, own);
  }
  const past = core.cache && inputs[core.cache.pastValue];
  const cached = { count: stored, width: 1, stored, pairing };
  if (core.cache && past) inputs[core.cache.pastValue] = exchange(builder, past, 1, cached);
  return inputs;
}

/** [B, S, H * E] as [B, S, H, E]; [B, H, S, E] as it is. */
export function separated(builder: Builder, site: LocatedSite, core: OperatorCore, value: Value): Value {
  return core.merged
    ? builder.op('Reshape', [value, builder.ints([0, 0, site.heads, site.valueWidth])])
    : value;
}

/** The axis of the heads in what `separated` gives. */
export function headAxis(core: OperatorCore): number {
  return core.merged ? 2 : 1;
}

/** [B, S, .., ..] as [B, S, H * E], where the operator merges heads. */
export function merged(builder: Builder, site: LocatedSite, value: Value): Value {
  return builder.op('Reshape', [value, builder.ints([0, 0, site.heads * site.valueWidth])]);
}
