import type { Dim, View } from '../analyse';
import type { AttentionSite } from '../attention/site';
import type { Value } from '../ir';
import { fail } from '../match/outcome';
import type { Builder } from './builder';
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

/** Value heads in pairs: head i becomes [V_i | V_(i + h/2)] on the width. Values that all heads share are doubled. */
export function pairValues(
  builder: Builder,
  values: Value,
  shape: readonly Dim[] | undefined,
  layout: HeadLayout,
  heads: number,
): Value {
  const missing = shape === undefined || !isSeparate(layout) ? 0 : layout.rank - shape.length;
  const axis = layout.axis - missing;
  const own = isSeparate(layout) ? (axis < 0 ? 1 : shape?.[axis]?.value) : heads;
  if (own === 1) return builder.concat([values, values], -1);
  const [first, second] = builder.halves(values, axis, heads / 2);
  return builder.concat([first, second], -1);
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
