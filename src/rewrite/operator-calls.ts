import type { LocatedSite } from '../attention/find';
import { columnsOf, type OperatorCore } from '../attention/site';
import type { Value } from '../ir';
import { fail } from '../match/outcome';
import type { Builder } from './builder';
import { cloneSlice, type Substitution } from './clone';
import type { RewriteSession } from './session';
import { floatTensor } from './tensors';

/** Inputs for further calls of a fused attention operator. */

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
  inputs[core.queryIndex] = cloneSlice(site.query.operand, substitution, builder);
  inputs[core.keyIndex] = cloneSlice(site.key.operand, substitution, builder);
  const bias = core.biasIndex === undefined ? undefined : inputs[core.biasIndex];
  if (core.biasIndex !== undefined && bias) {
    // The second queries and keys have their bias already.
    const width = columnsOf(site.query) + columnsOf(site.key);
    const none = builder.constant(
      `${site.path}/no_bias`,
      floatTensor(site.dataType, [width], new Float32Array(width)),
    );
    inputs[core.biasIndex] = builder.concat([none, columnsFrom(builder, bias, width, END, 0)], 0);
  }
  return inputs;
}

/** The operator projects by itself: its weights [in, q | k | v] with second queries and keys. */
function packedInputs(
  site: LocatedSite,
  core: OperatorCore,
  weightIndex: number,
  session: RewriteSession,
  builder: Builder,
): (Value | undefined)[] {
  const inputs = [...core.node.inputs];
  const width = columnsOf(site.query) + columnsOf(site.key);
  const weight = inputs[weightIndex];
  if (!weight) throw new Error(`${core.node.label}: no weights`);
  const second = (name: string) => builder.transpose(session.parameters.get(site, name), [1, 0]);
  const values = columnsFrom(builder, weight, width, END, 1);
  inputs[weightIndex] = builder.concat([second('q2_proj.weight'), second('k2_proj.weight'), values], 1);
  const bias = core.biasIndex === undefined ? undefined : inputs[core.biasIndex];
  if (core.biasIndex !== undefined && bias) {
    const own = (name: string) => session.parameters.get(site, name);
    inputs[core.biasIndex] = builder.concat(
      [own('q2_proj.bias'), own('k2_proj.bias'), columnsFrom(builder, bias, width, END, 0)],
      0,
    );
  }
  return inputs;
}

/** Exchanges the halves of an axis of known length. */
function exchange(builder: Builder, value: Value, axis: number, length: number): Value {
  const [first, second] = builder.halves(value, axis, length / 2);
  return builder.concat([second, first], axis);
}

/** Exchanges the halves of the last `length` columns. */
function exchangeTail(builder: Builder, value: Value, axis: number, from: number, length: number): Value {
  const head = columnsFrom(builder, value, 0, from, axis);
  return builder.concat(
    [head, exchange(builder, columnsFrom(builder, value, from, END, axis), axis, length)],
    axis,
  );
}

/** The inputs of the call in which every query head sees the values of its partner: heads i and i + h/2 exchanged. */
export function exchangedInputs(
  site: LocatedSite,
  core: OperatorCore,
  session: RewriteSession,
  builder: Builder,
): (Value | undefined)[] {
  const inputs = [...core.node.inputs];
  const keyed = columnsOf(site.query) + columnsOf(site.key);
  const width = site.kvHeads * site.valueWidth;
  if (core.biasIndex !== undefined) {
    const bias = inputs[core.biasIndex];
    if (bias) inputs[core.biasIndex] = exchangeTail(builder, bias, 0, keyed, width);
  }
  if (core.weightIndex !== undefined) {
    const weight = inputs[core.weightIndex];
    if (weight) inputs[core.weightIndex] = exchangeTail(builder, weight, 1, keyed, width);
    return inputs;
  }
  if (core.merged) {
    inputs[core.valueIndex] = exchange(builder, core.values, 2, width);
  } else {
    const heads = session.found.analysis.shapes.shape(core.values)?.[1]?.value;
    if (heads === undefined || (heads > 1 && heads % 2 === 1)) {
      fail(
        'heads-do-not-divide',
        core.node,
        'an even number of value heads',
        `${heads ?? 'an unknown number'}`,
      );
    }
    if (heads > 1) inputs[core.valueIndex] = exchange(builder, core.values, 1, heads);
  }
  const past = core.cache && inputs[core.cache.pastValue];
  if (core.cache && past) inputs[core.cache.pastValue] = exchange(builder, past, 1, site.kvHeads);
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
