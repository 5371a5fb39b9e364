import { Dim } from './dim';
import { type Fact, frontAxis, NOTHING, type Rule, type RuleContext } from './facts';
import { refuseNegative } from './impossible';
import { MOST_ELEMENTS } from './limits';

/** Rules of the operators that move elements without computing with them. */

/** Resolves the 0 and -1 of a Reshape. */
export function reshapeTarget(
  shape: readonly Dim[] | undefined,
  wanted: readonly Dim[] | undefined,
  allowZero: boolean,
): Dim[] | undefined {
  if (!wanted) return undefined;
  const target = wanted.map((dim, index) =>
    dim.value === 0 && !allowZero ? (shape?.[index] ?? Dim.unknown()) : dim,
  );
  const open = target.findIndex((dim) => dim.value === -1);
  if (open < 0) return target;
  const others = Dim.product(target.filter((_, index) => index !== open));
  target[open] = (shape && Dim.product(shape).dividedBy(others)) ?? Dim.unknown();
  return target;
}

function squeeze(context: RuleContext): readonly Fact[] {
  const shape = context.shape(0);
  const axes = context.numbers(1, 'axes');
  const dropped = shape && axes?.map((axis) => frontAxis(axis, shape.length));
  return [
    {
      shape: dropped
        ? shape.filter((_, index) => !dropped.includes(index))
        : context.node.inputs[1] || context.node.attribute('axes')
          ? undefined
          : shape?.every((dim) => dim.value !== undefined)
            ? shape.filter((dim) => dim.value !== 1)
            : undefined,
      elements: context.elements(0),
    },
  ];
}

function unsqueeze(context: RuleContext): readonly Fact[] {
  const shape = context.shape(0);
  const axes = context.numbers(1, 'axes');
  if (!shape || !axes) return [{ elements: context.elements(0) }];
  const rank = shape.length + axes.length;
  const added = new Set(axes.map((axis) => frontAxis(axis, rank)));
  const rest = [...shape];
  const result = Array.from({ length: rank }, (_, index) =>
    added.has(index) ? Dim.of(1) : (rest.shift() ?? Dim.unknown()),
  );
  return [{ shape: result, elements: rank <= 1 ? context.elements(0) : undefined }];
}

/** Elements of a vector of known length of which nothing else is known. */
function unknownElements({ shape }: Fact): Dim[] | undefined {
  const length = shape?.length === 1 ? shape[0]?.value : undefined;
  return length === undefined || length > 8 ? undefined : Array.from({ length }, () => Dim.unknown());
}

function concat(context: RuleContext): readonly Fact[] {
  const shapes = context.node.inputs.map((input) => context.fact(input).shape);
  const first = shapes.find((shape) => shape !== undefined);
  if (!first) return [NOTHING];
  const axis = frontAxis(context.node.int('axis') ?? 0, first.length);
  const along = shapes.map((shape) => shape?.[axis] ?? Dim.unknown());
  const shape = first.map((dim, index) => (index === axis ? along.reduce((a, b) => a.plus(b)) : dim));
  const parts = context.node.inputs.map(
    (input) => context.fact(input).elements ?? unknownElements(context.fact(input)),
  );
  const known = parts.every((part) => part !== undefined);
  const length = parts.reduce((all, part) => all + (part?.length ?? 0), 0);
  const folded = first.length === 1 && known && length <= MOST_ELEMENTS;
  return [{ shape, elements: folded ? parts.flatMap((part) => part ?? []) : undefined }];
}

/** Start, end and step of a Slice on one axis; counted from the front where the size allows. */
export interface SliceRange {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
  readonly step: number;
}

/** The ranges of a Slice node whose bounds are plain numbers. */
export function sliceRanges(context: RuleContext, rank: number): SliceRange[] | undefined {
  const starts = context.numbers(1, 'starts');
  const ends = context.numbers(2, 'ends');
  if (!starts || !ends) return undefined;
  const given = context.node.inputs[3] || context.node.attribute('axes');
  const axes = given ? context.numbers(3, 'axes') : starts.map((_, index) => index);
  const steps = context.node.inputs[4] ? context.numbers(4) : starts.map(() => 1);
  if (!axes || !steps) return undefined;
  return axes.map((axis, index) => ({
    axis: frontAxis(axis, rank),
    start: starts[index] ?? 0,
    end: ends[index] ?? 0,
    step: steps[index] ?? 1,
  }));
}

/** The axes that a Slice touches, even where its bounds are not known. */
export function slicedAxes(context: RuleContext, rank: number): number[] | undefined {
  if (context.node.inputs[3] || context.node.attribute('axes')) {
    return context.numbers(3, 'axes')?.map((axis) => frontAxis(axis, rank));
  }
  const count = context.fact(context.node.inputs[1]).shape?.[0]?.value ?? context.node.ints('starts')?.length;
  return count === undefined ? undefined : Array.from({ length: count }, (_, index) => index);
}

/** How many elements a range takes of an axis; undefined where that depends on symbols. */
export function sliceLength(size: Dim, { start, end, step }: SliceRange): Dim | undefined {
  const known = size.value;
  if (known === undefined) {
    if (step !== 1) return undefined;
    if (start === 0 && end > 2 ** 31) return size;
    if (start >= 0 && end >= 0 && end < 2 ** 31) return undefined;
    if (start >= 0 && end > 2 ** 31) return size.minus(Dim.of(start));
    if (start === 0 && end < 0) return size.plus(Dim.of(end));
    if (start < 0 && end > 2 ** 31) return Dim.of(-start);
    return undefined;
  }
  const clamp = (bound: number) =>
    Math.min(Math.max(bound < 0 ? bound + known : bound, step < 0 ? -1 : 0), step < 0 ? known - 1 : known);
  const length = Math.ceil((clamp(end) - clamp(start)) / step);
  return Dim.of(Math.max(0, length));
}

/** The first index that a range takes of an axis of known size. */
function firstOf(range: SliceRange | undefined, size: Dim | undefined): number {
  const known = size?.value;
  if (!range || known === undefined) return 0;
  const start = range.start < 0 ? range.start + known : range.start;
  return Math.min(Math.max(start, 0), range.step < 0 ? known - 1 : known);
}

/**
 * Elements of a tensor that takes its own from another.
 * @param lengths of the axes of the result; undefined where one is not known
 * @param from the indices in the other tensor for those in the result
 */
function picked(
  elements: readonly Dim[] | undefined,
  shape: readonly Dim[],
  lengths: readonly (number | undefined)[],
  from: (index: readonly number[]) => readonly number[],
): Dim[] | undefined {
  const sizes = shape.flatMap((dim) => dim.value ?? []);
  const known = lengths.flatMap((length) => length ?? []);
  if (!elements || sizes.length < shape.length || known.length < lengths.length) return undefined;
  const result: Dim[] = [];
  const index = known.map(() => 0);
  const all = known.reduce((product, length) => product * length, 1);
  if (!(all <= MOST_ELEMENTS)) return undefined;
  for (let count = all; count > 0; count--) {
    const at = from(index).reduce((all, each, axis) => all * (sizes[axis] ?? 1) + each, 0);
    const element = elements[at];
    if (!element) return undefined;
    result.push(element);
    for (let axis = known.length - 1; axis >= 0; axis--) {
      index[axis] = ((index[axis] ?? 0) + 1) % (known[axis] ?? 1);
      if (index[axis] !== 0) break;
    }
  }
  return result;
}

function slice(context: RuleContext): readonly Fact[] {
  const shape = context.shape(0);
  if (!shape) return [NOTHING];
  const ranges = sliceRanges(context, shape.length);
  const touched = ranges?.map((range) => range.axis) ?? slicedAxes(context, shape.length);
  const result = shape.map((dim, index) => {
    if (touched && !touched.includes(index)) return dim;
    const range = ranges?.find(({ axis }) => axis === index);
    return (range && sliceLength(dim, range)) ?? Dim.unknown();
  });
  const lengths = result.map((dim) => dim.value);
  const first = shape.map((_, axis) =>
    firstOf(
      ranges?.find((range) => range.axis === axis),
      shape[axis],
    ),
  );
  const step = shape.map((_, axis) => ranges?.find((range) => range.axis === axis)?.step ?? 1);
  const elements =
    ranges &&
    picked(context.elements(0), shape, lengths, (index) =>
      index.map((at, axis) => (first[axis] ?? 0) + at * (step[axis] ?? 1)),
    );
  return [{ shape: result, elements }];
}

function gather(context: RuleContext): readonly Fact[] {
  const data = context.shape(0);
  const indices = context.shape(1);
  if (!data || !indices) return [NOTHING];
  const axis = frontAxis(context.node.int('axis') ?? 0, data.length);
  const shape = [...data.slice(0, axis), ...indices, ...data.slice(axis + 1)];
  const elements = context.elements(0);
  const at = context.numbers(1);
  if (!elements || !at || data.length !== 1) return [{ shape }];
  const picked = at.map((index) => elements[index < 0 ? index + elements.length : index]);
  return [
    {
      shape,
      elements: picked.every((dim) => dim !== undefined) ? picked.flatMap((dim) => dim ?? []) : undefined,
    },
  ];
}

function split(context: RuleContext): readonly Fact[] {
  const shape = context.shape(0);
  const count = context.node.outputs.length;
  if (!shape) return Array(count).fill(NOTHING);
  const axis = frontAxis(context.node.int('axis') ?? 0, shape.length);
  const given = context.node.inputs[1] || context.node.attribute('split');
  const sizes = given ? context.numbers(1, 'split') : undefined;
  const total = shape[axis];
  const even = given ? undefined : total?.dividedBy(Dim.of(count));
  const elements = shape.length === 1 ? context.elements(0) : undefined;
  let start = 0;
  return Array.from({ length: count }, (_, part) => {
    const size = sizes?.[part];
    const along = size === undefined ? (even ?? Dim.unknown()) : Dim.of(size);
    const from = start;
    start += along.value ?? Number.NaN;
    return {
      shape: shape.map((dim, index) => (index === axis ? along : dim)),
      elements: Number.isNaN(start) ? undefined : elements?.slice(from, start),
    };
  });
}

function expand(context: RuleContext): readonly Fact[] {
  const shape = context.shape(0);
  const wanted = context.elements(1);
  if (!shape || !wanted) return [NOTHING];
  const rank = Math.max(shape.length, wanted.length);
  return [
    {
      shape: Array.from({ length: rank }, (_, index) => {
        const have = shape[shape.length - rank + index];
        const want = wanted[wanted.length - rank + index];
        if (!want || want.value === 1) return have ?? Dim.of(1);
        return !have || have.value === 1 ? want : have;
      }),
    },
  ];
}

/** What a Pad adds to each axis, at both ends together; undefined where that cannot be known. */
export function addedByPad(context: RuleContext, rank: number): Dim[] | undefined {
  const pads = context.elements(1) ?? context.node.ints('pads')?.map((pad) => Dim.of(pad));
  const axes = context.node.inputs[3]
    ? context.numbers(3)?.map((axis) => frontAxis(axis, rank))
    : Array.from({ length: rank }, (_, axis) => axis);
  if (!pads || !axes || pads.length !== 2 * axes.length) return undefined;
  return Array.from({ length: rank }, (_, axis) => {
    const at = axes.indexOf(axis);
    return (at < 0 ? undefined : pads[at]?.plus(pads[at + axes.length] ?? Dim.of(0))) ?? Dim.of(0);
  });
}

export const layoutRules: Record<string, Rule> = {
  Reshape: (context) => [
    {
      shape: reshapeTarget(context.shape(0), context.elements(1), context.node.int('allowzero') === 1),
      elements: context.elements(0),
    },
  ],
  Transpose: (context) => {
    const shape = context.shape(0);
    const given = context.node.ints('perm');
    if (!shape) return [NOTHING];
    const perm = given?.length ? given : shape.map((_, axis) => shape.length - 1 - axis);
    const moved = perm.map((axis) => shape[axis] ?? Dim.unknown());
    const elements = picked(
      context.elements(0),
      shape,
      moved.map((dim) => dim.value),
      (index) => shape.map((_, axis) => index[perm.indexOf(axis)] ?? 0),
    );
    return [{ shape: moved, elements }];
  },
  Flatten: (context) => {
    const shape = context.shape(0);
    if (!shape) return [NOTHING];
    const axis = frontAxis(context.node.int('axis') ?? 1, shape.length);
    return [{ shape: [Dim.product(shape.slice(0, axis)), Dim.product(shape.slice(axis))] }];
  },
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Concat: concat,
  Slice: slice,
  Gather: gather,
  Split: split,
  Expand: expand,
  Tile: (context) => {
    const shape = context.shape(0);
    const repeats = context.elements(1);
    refuseNegative(context, repeats);
    return [{ shape: shape?.map((dim, index) => dim.times(repeats?.[index] ?? Dim.unknown())) }];
  },
  GatherElements: (context) => [{ shape: context.shape(1) ?? context.shape(0)?.map(() => Dim.unknown()) }],
  GatherND: (context) => {
    const data = context.shape(0);
    const indices = context.shape(1);
    const depth = indices?.at(-1)?.value;
    const batch = context.node.int('batch_dims') ?? 0;
    if (!data || !indices || depth === undefined) return [NOTHING];
    return [{ shape: [...indices.slice(0, -1), ...data.slice(batch + depth)] }];
  },
  Pad: (context) => {
    const shape = context.shape(0);
    const pads = shape && addedByPad(context, shape.length);
    return [{ shape: shape?.map((dim, axis) => (pads?.[axis] ? dim.plus(pads[axis]) : Dim.unknown())) }];
  },
};
