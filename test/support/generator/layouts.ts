/** Layouts of labelled values, in the ways that exporters write them. */
import type { Axes, GraphWriter, Label, Labelled } from './graph-writer';

const same = (a: readonly Label[] | undefined, b: readonly Label[] | undefined) => a?.join() === b?.join();

export function transpose(graph: GraphWriter, value: Labelled, perm: readonly number[]): Labelled {
  if (perm.every((from, to) => from === to)) return value;
  return {
    ...value,
    axes: perm.map((axis) => value.axes[axis] ?? []),
    name: graph.op('Transpose', [value.name], { attributes: `perm = [${perm}]` }),
  };
}

/** The same elements in the same order on other axes. */
export function reshape(graph: GraphWriter, value: Labelled, axes: Axes): Labelled {
  if (value.axes.length === axes.length && axes.every((axis, at) => same(axis, value.axes[at]))) return value;
  if (!same(value.axes.flat(), axes.flat())) {
    throw new Error(`a reshape of ${JSON.stringify(value.axes)} to ${JSON.stringify(axes)}`);
  }
  const written = axes.map((axis, at) => writtenSize(graph, value, axis, at));
  const unknown = written.filter((size) => size === undefined).length;
  const target =
    unknown <= 1 && graph.pick(2) === 0
      ? graph.ints(openOne(graph, written))
      : computedShape(graph, value, axes, written);
  return { ...value, axes, name: graph.op('Reshape', [value.name, target]) };
}

/** A number in the shape of a Reshape; undefined where the size is not known. 0 stands for the old size of the axis. */
function writtenSize(
  graph: GraphWriter,
  value: Labelled,
  axis: readonly Label[],
  at: number,
): number | undefined {
  const kept = same(value.axes[at], axis);
  if (graph.isStatic(axis)) return kept && graph.pick(3) === 1 ? 0 : graph.size(axis);
  return kept && graph.pick(3) > 0 ? 0 : undefined;
}

/** -1 for what is not known; where all is known, now and then for something that is. */
function openOne(graph: GraphWriter, sizes: readonly (number | undefined)[]): number[] {
  const open = sizes.indexOf(undefined);
  const at = open >= 0 ? open : graph.pick(3) === 1 ? graph.pick(sizes.length) : -1;
  return sizes.map((size, index) => (index === at ? -1 : (size ?? Number.NaN)));
}

/** Shape arithmetic: sizes that are read from the value itself, put together with constants. */
function computedShape(
  graph: GraphWriter,
  value: Labelled,
  axes: Axes,
  written: readonly (number | undefined)[],
): string {
  const sizes = axes.map((axis, at) =>
    written[at] === undefined && !graph.isStatic(axis) ? sizeFrom(graph, value, axis) : undefined,
  );
  const unknown = axes.findIndex((_, at) => written[at] === undefined && sizes[at] === undefined);
  const parts = axes.map((_, at) => sizes[at] ?? graph.ints([at === unknown ? -1 : (written[at] ?? -1)]));
  return graph.op('Concat', parts, { attributes: 'axis = 0' });
}

/** The product of sizes of a value as int64[1]; undefined where the value does not have them as axes. */
export function sizeFrom(graph: GraphWriter, value: Labelled, labels: readonly Label[]): string | undefined {
  const whole = value.axes.findIndex((axis) => same(axis, labels));
  if (whole >= 0) return axisSize(graph, value, whole);
  const factors = labels.map((label) => {
    for (const source of [value, ...graph.sources]) {
      const at = source.axes.findIndex((axis) => same(axis, [label]));
      if (at >= 0 && !(graph.isStatic([label]) && source !== value)) return axisSize(graph, source, at);
    }
    return graph.isStatic([label]) ? graph.ints([graph.size([label])]) : undefined;
  });
  const [first, ...others] = factors;
  if (first === undefined) return undefined;
  let product = first;
  for (const factor of others) {
    if (factor === undefined) return undefined;
    product = graph.op('Mul', [product, factor]);
  }
  return product;
}

/** TorchScript: Shape, Gather, Unsqueeze; or Shape, Slice. dynamo: Shape of one axis. */
export function axisSize(graph: GraphWriter, value: Labelled, axis: number): string {
  return graph.either(
    () =>
      graph.op('Unsqueeze', [
        graph.op('Gather', [graph.op('Shape', [value.name]), graph.int(axis)], { attributes: 'axis = 0' }),
        graph.ints([0]),
      ]),
    () =>
      graph.settings.opset >= 15
        ? graph.op('Shape', [value.name], { attributes: `start = ${axis}, end = ${axis + 1}` })
        : graph.op('Slice', [graph.op('Shape', [value.name]), graph.ints([axis]), graph.ints([axis + 1])]),
    () =>
      graph.op('Gather', [graph.op('Shape', [value.name]), graph.ints([axis - value.axes.length])], {
        attributes: 'axis = 0',
      }),
  );
}

/**
 * Brings a value onto other axes: labels that stay together all the way are one axis of the Transpose, or each is an axis
 * of its own; now and then in two steps.
 */
export function arrange(graph: GraphWriter, value: Labelled, axes: Axes): Labelled {
  const from = value.axes.flat();
  const to = axes.flat();
  if ([...from].sort().join() !== [...to].sort().join()) {
    throw new Error(`from ${JSON.stringify(value.axes)} to ${JSON.stringify(axes)}`);
  }
  if (same(from, to)) return reshape(graph, value, axes);
  const finest = graph.pick(3) === 2;
  const boundaries = new Set(finest ? from.map((_, at) => at) : axisStarts(value.axes, axes, from));
  const units: Label[][] = [];
  from.forEach((label, at) => {
    const follows = at > 0 && to.indexOf(label) === to.indexOf(from[at - 1] ?? '') + 1;
    if (follows && !boundaries.has(at)) units.at(-1)?.push(label);
    else units.push([label]);
  });
  const order = [...units].sort((a, b) => to.indexOf(a[0] ?? '') - to.indexOf(b[0] ?? ''));
  const split = graph.noise(reshape(graph, value, units));
  const moved = movedBy(
    graph,
    split,
    order.map((unit) => units.indexOf(unit)),
  );
  return graph.noise(reshape(graph, graph.noise(moved), axes));
}

/** Where axes begin in the old layout or the new one: splitting there too is what most exporters do. */
function axisStarts(old: Axes, axes: Axes, from: readonly Label[]): number[] {
  const starts = (all: Axes) => new Set(all.map((axis) => axis[0]));
  const [oldStarts, newStarts] = [starts(old), starts(axes)];
  return from.flatMap((label, at) => (oldStarts.has(label) || newStarts.has(label) ? [at] : []));
}

function movedBy(graph: GraphWriter, value: Labelled, perm: readonly number[]): Labelled {
  if (perm.length < 3 || graph.pick(6) !== 5) return transpose(graph, value, perm);
  // in two steps: first the last two axes exchanged
  const first = perm.map((_, at) => at);
  const [a, b] = [perm.length - 2, perm.length - 1];
  [first[a], first[b]] = [b, a];
  const rest = perm.map((axis) => first.indexOf(axis));
  return transpose(graph, transpose(graph, value, first), rest);
}

/** Repeats key heads [.., g, ..] for groups of query heads: [.., g, r, ..], or [.., r, g, ..] where tiled. */
export function repeatHeads(graph: GraphWriter, value: Labelled, heads: readonly Label[]): Labelled {
  const at = value.axes.findIndex((axis) => same(axis, ['g']));
  if (at < 0) throw new Error('no axis of key heads');
  const groups = graph.size(['r']);
  const keyHeads = graph.size(['g']);
  const axes = value.axes.map((axis, index) => (index === at ? heads : axis));
  if (groups === 1) return { ...value, axes };
  const tiled = heads[0] === 'r';
  const indices = Array.from({ length: groups * keyHeads }, (_, i) =>
    tiled ? i % keyHeads : Math.floor(i / groups),
  );
  return graph.either(
    () => expandHeads(graph, value, at, heads),
    () => ({
      ...value,
      axes,
      name: graph.op('Gather', [value.name, graph.ints(indices)], { attributes: `axis = ${at}` }),
    }),
    () => {
      const added = graph.op('Unsqueeze', [value.name, graph.ints([tiled ? at : at + 1])]);
      const repeats = [...value.axes, []].map((_, index) => (index === (tiled ? at : at + 1) ? groups : 1));
      const name = graph.op('Tile', [added, graph.ints(repeats)]);
      return merged(graph, { ...value, name }, at, heads);
    },
    () =>
      tiled
        ? {
            ...value,
            axes,
            name: graph.op('Concat', Array(groups).fill(value.name), { attributes: `axis = ${at}` }),
          }
        : expandHeads(graph, value, at, heads),
  );
}

function expandHeads(graph: GraphWriter, value: Labelled, at: number, heads: readonly Label[]): Labelled {
  const front = heads[0] === 'r' ? at : at + 1;
  const added = graph.op('Unsqueeze', [value.name, graph.ints([front])]);
  const ones = [...value.axes, []].map((_, index) => (index === front ? graph.size(['r']) : 1));
  const target = graph.either(
    () => graph.ints(ones),
    () => {
      const sizes = value.axes.map((axis, axisIndex) =>
        graph.isStatic(axis) ? graph.ints([graph.size(axis)]) : axisSize(graph, value, axisIndex),
      );
      sizes.splice(front, 0, graph.ints([graph.size(['r'])]));
      return graph.op('Concat', sizes, { attributes: 'axis = 0' });
    },
  );
  return merged(graph, { ...value, name: graph.op('Expand', [added, target]) }, at, heads);
}

/** A value whose axis `at` stands as two, one for each label, with both on one axis. */
function merged(graph: GraphWriter, value: Labelled, at: number, heads: readonly Label[]): Labelled {
  const apart = value.axes.flatMap((axis, index) => (index === at ? heads.map((label) => [label]) : [axis]));
  const together = value.axes.map((axis, index) => (index === at ? heads : axis));
  return reshape(graph, { ...value, axes: apart }, together);
}
