import type { Node } from '../ir';
import { smallConstant } from './constants';
import { Dim } from './dim';
import { einsumTerms } from './einsum';
import { frontAxis } from './facts';
import { addedByPad, sliceLength, sliceRanges } from './layout-rules';
import type { Shapes } from './shapes';
import { type Atom, axisSize, columnAtoms, isPure, regroup, sliceAxis, type View } from './view';

/** How views pass through single operators. */

/** A view that could not be followed, and the node where that happened. */
export interface LostView {
  readonly node: Node;
  readonly found: string;
}

export type Step = (trace: StepContext) => (View | LostView)[];

export interface StepContext {
  readonly node: Node;
  readonly shapes: Shapes;
  /** The view of an input, where it comes from the projection. */
  view(index: number): View | undefined;
  /** The first input that has a view. */
  readonly source: View;
}

function lost(context: StepContext, found: string): LostView[] {
  return [{ node: context.node, found }];
}

function mixedAxis(size: Dim | undefined): Atom[] {
  return [{ kind: 'column', size: size ?? Dim.unknown(), stride: undefined }];
}

function leadAxis(size: Dim | undefined): Atom[] {
  return [{ kind: 'lead', size: size ?? Dim.unknown(), order: undefined }];
}

function hasColumns(axis: readonly Atom[]): boolean {
  return axis.some((atom) => atom.kind === 'column');
}

/** An axis whose elements are not those it had: still columns where there were columns. */
function changedAxis(axis: readonly Atom[], size: Dim | undefined): Atom[] {
  if (hasColumns(axis)) return mixedAxis(size);
  return size?.value === 1 ? [] : leadAxis(size);
}

/**
 * A view with a changed axis. One element of an axis of columns would look like a column that is known: lost.
 */
function withChangedAxis(
  context: StepContext,
  view: View,
  index: number,
  size: Dim | undefined,
): View | LostView {
  const axis = view.axes[index] ?? [];
  if (hasColumns(axis) && size?.value === 1) {
    return { node: context.node, found: 'one column, and which one is not known' };
  }
  return withAxis(view, index, changedAxis(axis, size));
}

function withAxis(view: View, index: number, axis: readonly Atom[], offset = 0): View {
  return { axes: view.axes.map((old, at) => (at === index ? axis : old)), offset: view.offset + offset };
}

function reshape(context: StepContext): (View | LostView)[] {
  const target = context.shapes.shape(context.node.outputs[0]);
  if (!target) return lost(context, 'the shape it makes cannot be known before the model runs');
  const axes = regroup(context.source.axes.flat(), target);
  if (!axes) {
    const from = context.source.axes.map((axis) => axisSize(axis).toString()).join(', ');
    return lost(context, `[${from}] does not divide into [${target.join(', ')}]`);
  }
  return [{ axes, offset: context.source.offset }];
}

function transpose(context: StepContext): (View | LostView)[] {
  const { axes, offset } = context.source;
  const perm = context.node.ints('perm');
  const order = perm?.length ? perm : axes.map((_, index) => axes.length - 1 - index);
  return [{ axes: order.map((axis) => axes[axis] ?? []), offset }];
}

function unsqueeze(context: StepContext): (View | LostView)[] {
  const axes = context.shapes.context(context.node).numbers(1, 'axes');
  if (!axes) return lost(context, 'its axes are not constant');
  const rank = context.source.axes.length + axes.length;
  const added = new Set(axes.map((axis) => frontAxis(axis, rank)));
  const rest = [...context.source.axes];
  return [
    {
      axes: Array.from({ length: rank }, (_, index) => (added.has(index) ? [] : (rest.shift() ?? []))),
      offset: context.source.offset,
    },
  ];
}

function squeeze(context: StepContext): (View | LostView)[] {
  const { axes, offset } = context.source;
  const given = context.shapes.context(context.node).numbers(1, 'axes');
  const dropped = given?.map((axis) => frontAxis(axis, axes.length));
  const keep = (axis: readonly Atom[], index: number) =>
    dropped ? !dropped.includes(index) : axis.length > 0;
  return [{ axes: axes.filter(keep), offset }];
}

function slice(context: StepContext): (View | LostView)[] {
  const rule = context.shapes.context(context.node);
  const output = context.shapes.shape(context.node.outputs[0]);
  const ranges = sliceRanges(rule, context.source.axes.length);
  let view = context.source;
  if (!ranges) {
    const axes = view.axes.map((axis, index) => {
      const same = output?.[index]?.equals(axisSize(axis));
      return same ? axis : changedAxis(axis, output?.[index]);
    });
    return [{ axes, offset: view.offset }];
  }
  for (const range of ranges) {
    const axis = view.axes[range.axis] ?? [];
    const size = axisSize(axis);
    const length = sliceLength(size, range);
    if (length?.equals(size) && range.step === 1) continue;
    const front =
      range.start < 0 && size.value !== undefined ? Math.max(0, range.start + size.value) : range.start;
    const start = size.value === undefined ? front : Math.min(front, size.value - 1);
    const cut = length?.value === undefined ? undefined : sliceAxis(axis, start, length.value, range.step);
    const next = cut
      ? withAxis(view, range.axis, cut.axis, cut.offset)
      : withChangedAxis(context, view, range.axis, output?.[range.axis]);
    if ('node' in next) return [next];
    view = next;
  }
  return [view];
}

function split(context: StepContext): (View | LostView)[] {
  const axis = frontAxis(context.node.int('axis') ?? 0, context.source.axes.length);
  const from = context.source.axes[axis] ?? [];
  let start = 0;
  return context.node.outputs.map((output) => {
    const size = context.shapes.shape(output)?.[axis];
    const length = size?.value;
    const cut = length === undefined ? undefined : sliceAxis(from, start, length, 1);
    start += length ?? Number.NaN;
    return cut
      ? withAxis(context.source, axis, cut.axis, cut.offset)
      : withChangedAxis(context, context.source, axis, size);
  });
}

function gather(context: StepContext): (View | LostView)[] {
  if (!context.view(0)) return lost(context, 'values of the projection are used as indices');
  const axis = frontAxis(context.node.int('axis') ?? 0, context.source.axes.length);
  const from = context.source.axes[axis] ?? [];
  const rule = context.shapes.context(context.node);
  const rank = rule.shape(1)?.length;
  const indices = rule.numbers(1);
  const output = context.shapes.shape(context.node.outputs[0]);
  if (rank === undefined || rank > 1)
    return lost(context, 'its indices have an unknown rank or more than one axis');
  const size = axisSize(from).value;
  const at = indices?.map((index) => (index < 0 ? index + (size ?? 0) : index));
  if (rank === 0) {
    const [index] = at ?? [];
    const cut = index === undefined ? undefined : sliceAxis(from, index, 1, 1);
    if (!cut && hasColumns(from))
      return lost(context, 'it picks columns that are not known before the model runs');
    const view = withAxis(context.source, axis, [], cut?.offset ?? 0);
    return [{ axes: view.axes.filter((_, index) => index !== axis), offset: view.offset }];
  }
  const step = at && at.length > 1 ? (at[1] ?? 0) - (at[0] ?? 0) : 1;
  const repeated = at && repeats(at, size);
  if (repeated)
    return [
      withAxis(
        context.source,
        axis,
        repeated === 'each' ? [...from, times(at, size)] : [times(at, size), ...from],
      ),
    ];
  const even = at?.every((index, position) => index === (at[0] ?? 0) + position * step);
  const cut = at && even && step > 0 ? sliceAxis(from, at[0] ?? 0, at.length, step) : undefined;
  return [
    cut
      ? withAxis(context.source, axis, cut.axis, cut.offset)
      : withChangedAxis(context, context.source, axis, output?.[axis]),
  ];
}

/** Whether indices name all elements of an axis several times: each of them so often in a row, or all of them so often. */
function repeats(indices: readonly number[], size: number | undefined): 'each' | 'all' | undefined {
  if (!size || indices.length <= size || indices.length % size !== 0) return undefined;
  const count = indices.length / size;
  if (indices.every((index, at) => index === Math.floor(at / count))) return 'each';
  return indices.every((index, at) => index === at % size) ? 'all' : undefined;
}

function times(indices: readonly number[], size: number | undefined): Atom {
  return { kind: 'repeat', size: Dim.of(indices.length / (size ?? 1)) };
}

/** GatherND with one index tuple: it picks one element of each of the first axes. */
function gatherND(context: StepContext): (View | LostView)[] {
  const { node, shapes, source } = context;
  const indices = smallConstant(shapes.model, node.inputs[1]);
  const depth = indices?.shape.at(-1) ?? 0;
  if (
    !context.view(0) ||
    !indices ||
    indices.values.length !== depth ||
    (node.int('batch_dims') ?? 0) !== 0
  ) {
    return lost(context, 'it picks by several indices, or by indices that are not constant');
  }
  let { offset } = source;
  for (const [axis, index] of indices.values.entries()) {
    const from = source.axes[axis] ?? [];
    const size = axisSize(from).value ?? 0;
    const cut = sliceAxis(from, index < 0 ? index + size : index, 1, 1);
    if (!cut && hasColumns(from)) return lost(context, 'it picks columns that cannot be told apart');
    offset += cut?.offset ?? 0;
  }
  const kept = indices.shape.slice(0, -1).map((): readonly Atom[] => []);
  return [{ axes: [...kept, ...source.axes.slice(depth)], offset }];
}

/** What is padded is longer: rows are others, and columns are not known any more. */
function pad(context: StepContext): (View | LostView)[] {
  const { node, shapes, source } = context;
  const added = addedByPad(shapes.context(node), source.axes.length);
  if (!context.view(0) || !added) return lost(context, 'what it adds cannot be known before the model runs');
  const output = shapes.shape(node.outputs[0]);
  let view: View | LostView = source;
  for (const [axis, more] of added.entries()) {
    if (more.value === 0 || 'node' in view) continue;
    view = withChangedAxis(context, view, axis, output?.[axis]);
  }
  return [view];
}

function expand(context: StepContext): (View | LostView)[] {
  const output = context.shapes.shape(context.node.outputs[0]);
  if (!output) return lost(context, 'the shape it makes cannot be known before the model runs');
  return [spread(context.source, output)];
}

function tile(context: StepContext): (View | LostView)[] {
  const repeats = context.shapes.context(context.node).elements(1);
  if (!repeats) return lost(context, 'its repeats cannot be known before the model runs');
  const axes = context.source.axes.map((axis, index): readonly Atom[] => {
    const times = repeats[index];
    return !times || times.value === 1 ? axis : [{ kind: 'repeat', size: times }, ...axis];
  });
  return [{ axes, offset: context.source.offset }];
}

/** Aligns a view with a shape it is broadcast to; the same view where that changes nothing, as in a long chain. */
function spread(view: View, shape: readonly Dim[]): View {
  if (view.axes.length === shape.length && view.axes.every((axis, index) => fills(axis, shape[index])))
    return view;
  const axes = shape.map((size, index): readonly Atom[] => {
    const axis = view.axes[view.axes.length - shape.length + index] ?? [];
    if (axis.length > 0 || size.value === 1) return axis;
    return [{ kind: 'repeat', size }];
  });
  return { axes, offset: view.offset };
}

function fills(axis: readonly Atom[], size: Dim | undefined): boolean {
  return axis.length > 0 || size?.value === 1;
}

function concat(context: StepContext): (View | LostView)[] {
  const output = context.shapes.shape(context.node.outputs[0]);
  const axis = frontAxis(context.node.int('axis') ?? 0, context.source.axes.length);
  const parts = context.node.inputs.map((_, index) => context.view(index));
  const [first, ...rest] = context.node.inputs;
  if (first && rest.length > 0 && rest.every((input) => input === first)) {
    const repeat: Atom = { kind: 'repeat', size: Dim.of(rest.length + 1) };
    return [withAxis(context.source, axis, [repeat, ...(context.source.axes[axis] ?? [])])];
  }
  const joined = joinParts(parts, axis);
  if (joined) return [joined];
  const traced = parts.filter((part) => part !== undefined).sort((a, b) => richness(b) - richness(a));
  const base = traced[0] ?? context.source;
  const along = base.axes[axis] ?? [];
  // Pieces of the columns put side by side on an axis of their own: the axis runs over columns.
  if (along.length === 0 && traced.length > 1 && !sameEverywhere(traced)) {
    return [withAxis(base, axis, mixedAxis(output?.[axis]))];
  }
  if (traced.some((part) => part.offset !== base.offset) && !hasColumns(along)) {
    return lost(context, 'different columns behind one another on an axis that is no column axis');
  }
  return [withAxis(base, axis, changedAxis(along, output?.[axis]))];
}

/** True for parts that all show the same columns: putting them side by side repeats, and combines nothing. */
function sameEverywhere(parts: readonly View[]): boolean {
  const [first, ...others] = parts;
  return (
    first !== undefined &&
    isPure(first) &&
    others.every((other) => isPure(other) && sameColumns(first, other))
  );
}

function richness(view: View): number {
  return view.axes.flat().filter((atom) => atom.kind === 'column').length;
}

/** Pieces of one run of columns, put back together in order. */
function joinParts(parts: readonly (View | undefined)[], axis: number): View | undefined {
  let joined: { view: View; atom: Extract<Atom, { kind: 'column' }> } | undefined;
  for (const part of parts) {
    const atoms = part?.axes[axis];
    const [atom] = atoms ?? [];
    if (!part || atoms?.length !== 1 || atom?.kind !== 'column' || atom.stride === undefined)
      return undefined;
    if (!joined) {
      joined = { view: part, atom };
      continue;
    }
    const length = joined.atom.size.value;
    if (length === undefined || atom.stride !== joined.atom.stride) return undefined;
    if (
      part.offset !== joined.view.offset + length * atom.stride ||
      !sameElsewhere(part, joined.view, axis)
    ) {
      return undefined;
    }
    joined = { view: joined.view, atom: { ...atom, size: joined.atom.size.plus(atom.size) } };
  }
  return joined && withAxis(joined.view, axis, [joined.atom]);
}

function sameElsewhere(a: View, b: View, except: number): boolean {
  const text = (view: View) =>
    JSON.stringify(
      view.axes.map((axis, index) => (index === except ? [] : axis.map((atom) => [atom, String(atom.size)]))),
    );
  return text(a) === text(b);
}

/**
 * Elementwise operators: the result is laid out as the operands, broadcast. Operands that show different columns at one
 * place give a mix of them; next to a mix, a pure operand says which column the place belongs to.
 */
export function elementwise(context: StepContext): (View | LostView)[] {
  const output = context.shapes.shape(context.node.outputs[0]);
  const views = new Set<View>();
  for (let index = 0; index < context.node.inputs.length; index++) {
    const found = context.view(index);
    if (found) views.add(found);
  }
  if (views.size < 2) return [output ? spread(context.source, output) : context.source];
  const [best, ...others] = [...views]
    .map((each) => ({ each, rich: richness(each), pure: isPure(each) }))
    .sort((a, b) => b.rich - a.rich || Number(b.pure) - Number(a.pure));
  const view = best?.each ?? context.source;
  const own = stridesOf(view);
  const clash =
    isPure(view) &&
    others.some(
      ({ each, rich, pure }) => pure && rich > 0 && (each.offset !== view.offset || stridesOf(each) !== own),
    );
  const result = output ? spread(view, output) : view;
  return [clash ? mixWidths(result) : result];
}

function sameColumns(a: View, b: View): boolean {
  return a.offset === b.offset && stridesOf(a) === stridesOf(b);
}

function stridesOf(view: View): string {
  return columnAtoms(view.axes.flat())
    .map((atom) => `${atom.stride}*${atom.size}`)
    .join();
}

/** A view whose innermost columns are combined with their neighbours; heads stay apart. */
function mixWidths(view: View): View {
  const strides = columnAtoms(view.axes.flat()).flatMap((atom) => atom.stride ?? []);
  const innermost = Math.min(...strides);
  const axes = view.axes.map((axis) =>
    axis.map((atom) =>
      atom.kind === 'column' && atom.stride === innermost ? { ...atom, stride: undefined } : atom,
    ),
  );
  return { axes, offset: 0 };
}

/** A reduction: the axes that it sums over are gone, or have one element. */
export function reduce(context: StepContext): (View | LostView)[] {
  const axes = context.shapes.context(context.node).numbers(1, 'axes');
  if (!axes) return lost(context, 'its axes are not constant');
  const dropped = axes.map((axis) => frontAxis(axis, context.source.axes.length));
  const keep = (context.node.int('keepdims') ?? 1) === 1;
  return [
    {
      axes: context.source.axes.flatMap((axis, index) =>
        !dropped.includes(index) ? [axis] : keep ? [[]] : [],
      ),
      offset: context.source.offset,
    },
  ];
}

/**
 * A product with something that is no projection output: the axis it sums over is another one then, still of columns if it
 * was one. The other operand adds none.
 */
function product(context: StepContext): (View | LostView)[] {
  const [left, right] = [context.view(0), context.view(1)];
  const output = context.shapes.shape(context.node.outputs[0]);
  const view = left ?? right;
  if (!view || !output || (left && right))
    return lost(context, 'a product of two values that come from the projection');
  if (view.axes.length < 2) return lost(context, 'a product with a vector');
  const summed = view.axes.at(left ? -1 : -2) ?? [];
  const axis = output.length - (left ? 1 : 2);
  return [withAxis(spread(view, output), axis, changedAxis(summed, output[axis]))];
}

/** Channels keep their places, the axes behind them change: a convolution of each channel by itself, or a pooling. */
function overChannels(context: StepContext): (View | LostView)[] {
  const { node, shapes, source } = context;
  const [weight, output] = [shapes.shape(node.inputs[1]), shapes.shape(node.outputs[0])];
  const apart =
    !node.is('Conv') || (weight?.[1]?.value === 1 && weight[0]?.equals(axisSize(source.axes[1] ?? [])));
  if (!context.view(0) || !output) return lost(context, 'a filter that depends on data');
  let view: View | LostView = apart ? source : withChangedAxis(context, source, 1, output[1]);
  for (let axis = 2; axis < source.axes.length && 'axes' in view; axis++) {
    const [from, to] = [axisSize(view.axes[axis] ?? []), output[axis]];
    if (!to?.equals(from)) view = withChangedAxis(context, view, axis, to);
  }
  return [view];
}

/** Updates put into data of the same rank: an axis on which they are shorter holds something else as well. */
function scatter(context: StepContext): (View | LostView)[] {
  const output = context.shapes.shape(context.node.outputs[0]);
  const [data, updates] = [context.view(0), context.view(2)];
  const base = data ?? updates;
  const length = context.shapes.shape(context.node.inputs[2]);
  if (!base || !output || base.axes.length !== output.length || length?.length !== output.length)
    return elementwise(context);
  const axes = base.axes.map((axis, index) =>
    output[index] && length[index]?.equals(output[index]) ? axis : changedAxis(axis, output[index]),
  );
  return [{ axes, offset: base.offset }];
}

/** Einsum with something that is no projection output: letters keep their axes; what sums over columns mixes them. */
function einsum(context: StepContext): (View | LostView)[] {
  const { node, shapes } = context;
  const terms = einsumTerms(
    node,
    node.inputs.map((input) => shapes.shape(input)?.length),
  );
  const traced = node.inputs.flatMap((_, index) => (context.view(index) ? [index] : []));
  const [index] = traced;
  const term = terms?.inputs[index ?? 0];
  const view = context.view(index ?? 0);
  const output = shapes.shape(node.outputs[0]);
  if (!terms || traced.length !== 1 || term === undefined || !view || !output)
    return lost(context, 'a product of two values that come from the projection');
  const summed = [...term].filter((letter) => !terms.output.includes(letter));
  const mixes = summed.some((letter) => hasColumns(view.axes[term.indexOf(letter)] ?? []));
  const axes = [...terms.output].map((letter, axis): readonly Atom[] => {
    const from = term.indexOf(letter);
    if (from >= 0) return view.axes[from] ?? [];
    return mixes ? mixedAxis(output[axis]) : output[axis]?.value === 1 ? [] : leadAxis(output[axis]);
  });
  return [{ axes, offset: view.offset }];
}

export const steps = new Map<string, Step>([
  ['Reshape', reshape],
  ['Flatten', reshape],
  ['Transpose', transpose],
  ['Unsqueeze', unsqueeze],
  ['Squeeze', squeeze],
  ['Slice', slice],
  ['Split', split],
  ['Gather', gather],
  ['GatherND', gatherND],
  ['Expand', expand],
  ['Pad', pad],
  ['Tile', tile],
  ['Concat', concat],
  ['MatMul', product],
  ['Einsum', einsum],
  ['ScatterND', scatter],
  ['Conv', overChannels],
  ['AveragePool', overChannels],
  ['MaxPool', overChannels],
]);
