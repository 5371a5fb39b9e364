import type { Dim, View } from '../analyse';
import type { Pairing } from '../attention/presets';
import type { AttentionSite } from '../attention/site';
import type { Value } from '../ir';
import { fail } from '../match/outcome';
import { attribute } from './attributes';
import type { Builder } from './builder';
import { negativeHeads, positiveHeads, valueHeads } from './pairing';
import { joinShape } from './second-projection';

/** Where the heads of probabilities and values stand among the axes before the last two. */
export interface HeadLayout {
  /** The axis of the heads once they are separated. */
  readonly axis: number;
  /** Number of axes once they are separated. */
  readonly rank: number;
  /** First and last of the axes that hold heads now; the same where it is one axis. */
  readonly from: number;
  readonly to: number;
  /** True where the first of these axes holds something else outside the heads, as in [batch * heads, S, T]. */
  readonly outer: boolean;
}

/** Finds the heads in the layout of the probabilities. */
export function headAxisOf(view: View, site: AttentionSite): HeadLayout {
  const axes = view.axes.slice(0, -2);
  const holds = axes.map((axis) => axis.some((atom) => atom.kind === 'column'));
  const from = holds.indexOf(true);
  const to = holds.lastIndexOf(true);
  if (from < 0) fail('heads-unknown', site.anchor, 'heads on an axis before the last two', 'none');
  const inside = axes.slice(from, to + 1).flat();
  const firstColumn = inside.findIndex((atom) => atom.kind === 'column');
  if (inside.some((atom) => atom.kind === 'column' && atom.stride === undefined)) {
    fail('columns-mixed', site.anchor, 'heads that stay apart up to the values', 'a linear layer over heads');
  }
  const together = inside.slice(firstColumn).every((atom) => atom.kind === 'column');
  if (!together || (firstColumn > 0 && from !== to)) {
    fail(
      'layout-lost',
      site.anchor,
      'heads that stand together, batch outside',
      'heads mixed with other axes',
    );
  }
  const outer = firstColumn > 0;
  const layout = {
    axis: outer ? from + 1 : from,
    rank: view.axes.length - (to - from) + (outer ? 1 : 0),
    from,
    to,
    outer,
  };
  if (layout.axis !== layout.rank - 3) {
    fail('layout-lost', site.anchor, 'heads right before the queries', 'another axis between them');
  }
  return layout;
}

/** True where the heads have an axis of their own already. */
function isSeparate({ from, to, outer }: HeadLayout): boolean {
  return from === to && !outer;
}

/** Gives the heads of a value an axis of their own. The last two axes stay. */
export function separateHeads(builder: Builder, value: Value, layout: HeadLayout, heads: number): Value {
  if (isSeparate(layout)) return value;
  const shape = builder.op('Shape', [value]);
  const part = (from: number, to: number) =>
    builder.op('Slice', [shape, builder.ints([from]), builder.ints([to]), builder.ints([0])]);
  const target = joinShape(builder, [
    ...(layout.from > 0 ? [part(0, layout.from)] : []),
    ...(layout.outer ? [-1] : []),
    heads,
    part(layout.to + 1, 2 ** 31 - 1),
  ]);
  return builder.op('Reshape', [value, target]);
}

/** Values with the heads of the probabilities on an axis of their own, where several axes number heads. */
export function separateValues(
  builder: Builder,
  values: Value,
  probabilities: Value,
  layout: HeadLayout,
  heads: number,
): Value {
  if (isSeparate(layout)) return values;
  const lead = builder.shapePart(probabilities, 0, -2);
  const own = builder.shapePart(values, -2, 2 ** 31 - 1);
  const spread = builder.op('Expand', [values, builder.concat([lead, own], 0)]);
  return separateHeads(builder, spread, layout, heads);
}

/** Brings a result [.., heads, S, width] back into the layout that the product with values had. */
export function joinHeads(
  builder: Builder,
  value: Value,
  probabilities: Value,
  layout: HeadLayout,
  width: number,
): Value {
  if (isSeparate(layout)) return value;
  const shape = builder.op('Shape', [probabilities]);
  const lead = builder.op('Slice', [shape, builder.ints([0]), builder.ints([-1]), builder.ints([0])]);
  return builder.op('Reshape', [value, joinShape(builder, [lead, width])]);
}

/** The positive and the negative heads of an axis. */
export function componentHeads(
  builder: Builder,
  value: Value,
  axis: number,
  heads: number,
  pairing: Pairing,
): [positive: Value, negative: Value] {
  const [first, second] = [positiveHeads(pairing, heads), negativeHeads(pairing, heads)];
  return takeTwo(builder, value, axis, heads, first, second);
}

/** Value heads in pairs, side by side on the width. Values that all heads share are doubled. */
export function pairValues(
  builder: Builder,
  values: Value,
  shape: readonly Dim[] | undefined,
  layout: HeadLayout,
  { heads, kvHeads }: Pick<AttentionSite, 'heads' | 'kvHeads'>,
  pairing: Pairing,
): Value {
  const missing = shape === undefined || !isSeparate(layout) ? 0 : layout.rank - shape.length;
  const axis = layout.axis - missing;
  const own = isSeparate(layout) ? (axis < 0 ? 1 : shape?.[axis]?.value) : heads;
  if (own === 1) return builder.concat([values, values], -1);
  // Stored heads stand repeated, each for the group of query heads that it serves; any of a group will do.
  const group = heads / kvHeads;
  const within = (stored: number, pair: number) => stored * group + (pair % group);
  const { left, right } = valueHeads(pairing, heads, kvHeads);
  const [first, second] = takeTwo(builder, values, axis, heads, left.map(within), right.map(within));
  return builder.concat([first, second], -1);
}

/**
 * A1 V and A2 V, where V are both value heads of a pair side by side, from what an operator gives for each head with its
 * own values (`straight`) and with those of its partner (`exchanged`).
 */
export function pairOutputs(
  builder: Builder,
  calls: { readonly straight: Value; readonly exchanged: Value },
  axis: number,
  { heads, kvHeads }: Pick<AttentionSite, 'heads' | 'kvHeads'>,
  pairing: Pairing,
): { positive: Value; negative: Value } {
  const values = valueHeads(pairing, heads, kvHeads);
  const own = (head: number) => Math.floor(head / (heads / kvHeads));
  /** Of each of some heads, the product with the value heads named. */
  const withValues = (of: readonly number[], wanted: readonly number[]) => {
    const straight = of.map((head, pair) => own(head) === wanted[pair]);
    const [source] = [...new Set(straight)].map((each) => (each ? calls.straight : calls.exchanged));
    if (source && straight.every((each) => each === straight[0])) return takeHeads(builder, source, axis, of);
    const both = builder.concat([calls.straight, calls.exchanged], axis);
    return takeHeads(
      builder,
      both,
      axis,
      of.map((head, pair) => (straight[pair] ? head : head + heads)),
    );
  };
  const component = (of: readonly number[]) =>
    builder.concat([withValues(of, values.left), withValues(of, values.right)], -1);
  return {
    positive: component(positiveHeads(pairing, heads)),
    negative: component(negativeHeads(pairing, heads)),
  };
}

/** Two lists of heads; the halves of an axis with one Split. */
function takeTwo(
  builder: Builder,
  value: Value,
  axis: number,
  heads: number,
  first: readonly number[],
  second: readonly number[],
): [Value, Value] {
  const halves = [...first, ...second].every((head, index) => head === index);
  if (halves && first.length * 2 === heads) return builder.halves(value, axis, heads / 2);
  return [takeHeads(builder, value, axis, first), takeHeads(builder, value, axis, second)];
}

/** The heads of an axis that a list names, in its order. */
export function takeHeads(builder: Builder, value: Value, axis: number, heads: readonly number[]): Value {
  const [from = 0, next = from + 1] = heads;
  const step = next - from;
  const even = step > 0 && heads.every((head, index) => head === from + index * step);
  if (!even)
    return builder.op('Gather', [value, builder.ints(heads)], { attributes: [attribute.int('axis', axis)] });
  const to = from + (heads.length - 1) * step + 1;
  const bounds = [from, to, axis, step].map((each) => builder.ints([each]));
  return builder.op('Slice', [value, ...bounds]);
}

/**
 * [.., h/2, S, 2 * width] to [.., h, S, width]: heads 2i and 2i + 1 are the two halves of pair i, so that merging the
 * heads gives what merging the pairs would.
 */
export function unpair(
  builder: Builder,
  value: Value,
  axis: number,
  rank: number,
  heads: number,
  width: number,
): Value {
  const kept = Array(axis).fill(0);
  const divided = builder.op('Reshape', [value, builder.ints([...Array(rank - 1).fill(0), 2, width])]);
  const perm = Array.from({ length: rank + 1 }, (_, index) => index);
  perm.splice(rank - 1, 1);
  perm.splice(axis + 1, 0, rank - 1);
  const moved = builder.transpose(divided, perm);
  return builder.op('Reshape', [moved, builder.ints([...kept, heads, -1, width])], {});
}
