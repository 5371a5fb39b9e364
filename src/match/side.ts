import {
  ancestors,
  axisSize,
  type ColumnAtom,
  columnAtoms,
  columnCount,
  type Dataflow,
  Dim,
  descendants,
  followViews,
  isLayout,
  isPure,
  type LeadAtom,
  type LostView,
  regroup,
  type Shapes,
  type View,
} from '../analyse';
import type { Node, Value } from '../ir';
import { type Between, readBetween } from './between';
import { passedByAll } from './dominators';
import { attempt, fail } from './outcome';
import type { Projection } from './projection';
import { isResidualStream, reachProjections, refuseOtherReaders } from './reach';
import type { Stride } from './weight-layout';

/** Queries or keys, from where they are told apart from everything else to the product of scores. */
export interface HeadedSide {
  /**
   * The first value that holds the columns of this side and no others, laid out as `view` says: the projection's
   * output itself, a part of a packed one, or an input of the model.
   */
  readonly separated: Value;
  readonly view: View;
  /** Number of heads, and width of each. */
  readonly heads: number;
  readonly width: number;
  /** Sizes and strides of the column atoms, head atoms before width atoms, in head-major order. */
  readonly units: readonly ColumnUnit[];
  /** How many of `units` number heads. */
  readonly headUnits: number;
  /** The operand of the product of scores, or the input of the fused operator. */
  readonly operand: Value;
  /** Where it was lost, only copies of the whole side are possible: nobody knows where its heads are. */
  readonly operandView: View | LostView;
}

/** A view that a rewrite cannot do without. */
export function knownView(view: View | LostView): View {
  if ('axes' in view) return view;
  return fail('layout-lost', view.node, 'an operator that keeps heads apart', view.found);
}

/** The way of one projection to the scores. */
export interface Branch {
  readonly projection: Projection;
  /** As for `HeadedSide`, with the columns of this projection. */
  readonly separated: Value;
  readonly view: View;
  readonly units: readonly ColumnUnit[];
  readonly headUnits: number;
  /** Number of heads whose columns the projection gives apart; 1 where all heads share them. */
  readonly heads: number;
  /** Elementwise operators between a packed projection and `separated`, in order (casts, clipping, scales of columns). */
  readonly between: readonly Between[];
  /** Column of the projection that holds width position w of head i, at index i * width + w. */
  readonly columns: Int32Array;
}

/**
 * Queries or keys, from their projections to the product of scores. Where the side has one projection, that is all of
 * it; where it has several (low-rank branches, parts of a width, joined sequences), it is the first of them.
 */
export interface Side extends HeadedSide, Branch {
  /** The other projections, see `branchesOf`. */
  readonly further: readonly Branch[];
}

/** Some columns of a projection, a stride apart. */
export type ColumnUnit = Stride;

/** The ways of all projections of a side: the one that gives most first, then in the order of the data. */
export function branchesOf(side: Side): readonly Branch[] {
  return [side, ...side.further];
}

/**
 * Follows the columns of the projections behind an operand of the scores up to it.
 * @param widthAxis the axis of the operand that the scores sum over; undefined where heads and widths share the last
 *   axis, then `headCount` tells how many heads there are
 */
export function traceSide(
  operand: Value,
  widthAxis: number | undefined,
  headCount: number | undefined,
  anchor: Node,
  dataflow: Dataflow,
  shapes: Shapes,
): Side {
  const end: End = { operand, widthAxis, headCount, anchor, dataflow, shapes };
  const { projections, fed } = reachProjections(operand, dataflow, shapes, layersOverRows(end));
  if (projections.length === 0) {
    const from = fed[0] ? `input '${fed[0].name}'` : 'no linear layer';
    fail('no-projection', anchor, `a linear layer with constant weights behind '${operand.name}'`, from);
  }
  const stop = new Set(projections.map(({ output }) => output));
  const behind = ancestors(operand, stop);
  const traced = projections.map((projection) => traceBranch(projection, behind, end));
  traced.sort((a, b) => compareBranches(a.branch, b.branch));
  const [first, ...others] = traced;
  if (!first) throw new Error('no branch');
  const { branch, operandView } = first;
  const further = others.map((each) => each.branch);
  if (further.length > 0) {
    const nodes = new Set(behind);
    refuseOtherReaders(
      traced.flatMap(({ path }) => path),
      nodes,
      anchor,
      dataflow,
      shapes,
    );
  }
  const uneven = further.find(({ heads }) => branch.heads % heads !== 0);
  if (uneven) {
    const { node } = uneven.projection;
    const found = `${uneven.heads} heads beside ${branch.heads}`;
    fail('heads-do-not-divide', node, 'projections of as many heads, or of one that all share', found);
  }
  const width =
    'axes' in operandView
      ? operandWidth(operandView, widthAxis, headCount, anchor)
      : branch.columns.length / branch.heads;
  if (further.length > 0) for (const each of traced) knownView(each.operandView);
  return { ...branch, further, width, operand, operandView };
}

/**
 * Linear layers on the way that combine rows and not columns, as where keys are projected to fewer (arXiv 2006.04768):
 * they have no columns on the axis that scores sum over, and those before them have. None where that comes to nothing:
 * then the layers are queries or keys in a form that is not understood.
 */
function layersOverRows({ operand, widthAxis, dataflow, shapes }: End): ReadonlySet<Node> {
  const none = new Set<Node>();
  if (widthAxis === undefined) return none;
  const passed = new Set<Node>();
  const found = attempt(() => {
    for (;;) {
      const { projections } = reachProjections(operand, dataflow, shapes, passed);
      const behind = ancestors(operand, new Set(projections.map(({ output }) => output)));
      const over = projections.filter((projection) => {
        const path = descendants([projection.output], behind);
        const view = followViews(shapes, new Map([[projection.output, projection.view]]), path).get(operand);
        return view && 'axes' in view && columnAtoms(view.axes[widthAxis] ?? []).length === 0;
      });
      if (over.length === 0) return projections.length > 0;
      for (const { node } of over) passed.add(node);
    }
  });
  if (passed.size === 0 || !found.matched || !found.value) return none;
  return isResidualStream(operand, dataflow, shapes, passed) ? none : passed;
}

/** Which projection comes first must not depend on the order in which an exporter writes a sum. */
function compareBranches(a: Branch, b: Branch): number {
  return (
    b.heads - a.heads ||
    b.columns.length - a.columns.length ||
    b.projection.inFeatures - a.projection.inFeatures
  );
}

/** Width of a head: what one projection gives, or what it is put together from. */
function operandWidth(
  view: View,
  widthAxis: number | undefined,
  headCount: number | undefined,
  anchor: Node,
): number {
  const size = axisSize(view.axes[widthAxis ?? view.axes.length - 1] ?? []).value;
  const width = size === undefined ? undefined : size / (widthAxis === undefined ? (headCount ?? 1) : 1);
  if (width === undefined) fail('heads-unknown', anchor, 'heads of known width', 'a width that is no number');
  return width;
}

interface End {
  readonly operand: Value;
  readonly widthAxis: number | undefined;
  readonly headCount: number | undefined;
  readonly anchor: Node;
  readonly dataflow: Dataflow;
  readonly shapes: Shapes;
}

interface TracedBranch {
  readonly branch: Branch;
  readonly operandView: View | LostView;
  /** Values from `separated` to the operand. */
  readonly path: readonly Value[];
}

function traceBranch(projection: Projection, behind: readonly Node[], end: End): TracedBranch {
  const { operand, widthAxis, headCount, anchor, dataflow, shapes } = end;
  const path = descendants([projection.output], behind);
  const views = followViews(shapes, new Map([[projection.output, projection.view]]), path);
  const reached = views.get(operand);
  if (!reached)
    fail('layout-lost', anchor, `'${operand.name}' to come from '${projection.node.label}'`, 'no path');
  const heads = 'axes' in reached ? splitColumns(reached, end, projection) : undefined;
  const mixed = heads?.headAtoms.some((atom) => atom.stride === undefined);
  const operandView = mixed
    ? { node: projection.node, found: 'columns of different heads combined' }
    : reached;
  const pathNodes = new Set(path);
  const pure = [projection.output, ...path.flatMap((node) => node.outputs)].flatMap((value) => {
    const seen = value && views.get(value);
    if (!value || !seen || !('axes' in seen) || !isPure(seen)) return [];
    const used = value === operand || value.readers.some((reader) => pathNodes.has(reader));
    return used ? [{ value, view: seen, columns: columnCount(seen) }] : [];
  });
  const lost = 'node' in operandView ? operandView : undefined;
  const passed = passedByAll(projection.output, operand, path);
  const through = pure.filter(({ value }) => passed.has(value));
  const own = lost ? through.at(-1)?.columns : Math.min(...through.map(({ columns }) => columns));
  const finest = pure.findLast(({ columns }) => columns === own)?.view;
  const start = through.find(({ columns }) => columns === own);
  if (own === undefined || !start || !finest) {
    fail('columns-mixed', projection.node, 'a value with the columns of this side alone', 'none');
  }
  const { value: separated, view } = start;
  const width = shapes.shape(operand)?.[widthAxis ?? -1]?.value;
  const split =
    lost || !heads
      ? countedHeads(widthAxis === undefined ? own / (headCount ?? 1) : width, own, operandView)
      : heads;
  if (own % split.heads !== 0)
    fail('columns-mixed', projection.node, `${split.heads} heads of one width`, `${own} columns`);
  const units = columnUnits(finest, split, projection);
  const columns = enumerateColumns(units.all, finest.offset);
  const before = new Set(ancestors(separated, new Set([projection.output])));
  const between = path
    .filter((node) => before.has(node) && !isLayout(node))
    .map((node) => readBetween(node, projection, views, dataflow, shapes));
  const after = descendants([separated], path);
  return {
    branch: {
      projection,
      separated,
      view,
      between,
      heads: split.heads,
      columns,
      units: units.all,
      headUnits: units.heads,
    },
    operandView,
    path: [separated, ...after.flatMap((node) => node.outputs.flatMap((value) => value ?? []))],
  };
}

interface HeadSplit {
  readonly heads: number;
  /** The atoms that number heads, outermost first. */
  readonly headAtoms: readonly ColumnAtom[];
}

/** Heads by their count alone, where nobody knows which columns they are. */
function countedHeads(width: number | undefined, columns: number, view: View | LostView): HeadSplit {
  const heads = columns / (width ?? 0);
  if (!Number.isInteger(heads)) knownView(view);
  return { heads, headAtoms: [] };
}

/** Tells which columns of an operand number heads and which run along the width. */
function splitColumns(view: View, { widthAxis, headCount, anchor }: End, projection: Projection): HeadSplit {
  const headAtoms = widthAxis === undefined ? leadingHeads(view, headCount) : headAxes(view, widthAxis);
  if (!headAtoms) {
    const width = widthAxis === undefined ? 'the last axis' : `axis ${widthAxis}`;
    fail('heads-unknown', anchor, `heads and a width on ${width}`, 'columns that do not divide so');
  }
  if (columnAtoms(view.axes[widthAxis ?? view.axes.length - 1] ?? []).length === 0) {
    const found = `'${projection.node.label}', which has none there`;
    fail('projection-form', anchor, 'a linear layer with columns on the axis that scores sum over', found);
  }
  return { heads: headAtoms.reduce((all, atom) => all * (atom.size.value ?? Number.NaN), 1), headAtoms };
}

function headAxes(view: View, widthAxis: number): ColumnAtom[] | undefined {
  const width = axisSize(view.axes[widthAxis] ?? []).value;
  const atoms = columnAtoms(view.axes.flatMap((axis, index) => (index === widthAxis ? [] : [...axis])));
  return width === undefined || atoms.some((atom) => atom.size.value === undefined) ? undefined : atoms;
}

/** Heads of an operand whose last axis holds heads and widths. */
function leadingHeads(view: View, headCount: number | undefined): ColumnAtom[] | undefined {
  const last = view.axes.at(-1) ?? [];
  const width = headCount ? axisSize(last).dividedBy(Dim.of(headCount)) : undefined;
  const parts = width ? regroup(last, [Dim.of(headCount ?? 0), width]) : undefined;
  return parts?.[0] && columnAtoms(parts[0]);
}

function columnUnits(
  finest: View,
  split: HeadSplit,
  projection: Projection,
): { all: ColumnUnit[]; heads: number } {
  const sizes = (atom: ColumnAtom) => ({ size: atom.size.value ?? 0, stride: atom.stride ?? 0 });
  const heads = split.headAtoms.map(sizes);
  const width: ColumnUnit[] = [];
  for (const atom of columnAtoms(finest.axes.flat()).map(sizes)) {
    const inside = heads.filter(
      (head) => head.stride >= atom.stride && head.stride < atom.stride * atom.size,
    );
    const left = inside.reduce((rest, head) => rest / head.size, atom.size);
    if (!Number.isInteger(left)) {
      fail(
        'columns-mixed',
        projection.node,
        'heads that can be told apart in one value',
        'heads that overlap',
      );
    }
    const innermost = Math.min(...inside.map((head) => head.stride));
    const outer = inside.length > 0 && innermost === atom.stride;
    const span = inside.reduce((all, head) => all * head.size, 1);
    if (left > 1) width.push({ size: left, stride: outer ? atom.stride * span : atom.stride });
  }
  // Which of them are heads is not known: in the order of the projection.
  if (heads.length === 0) width.sort((a, b) => b.stride - a.stride);
  return { all: [...heads, ...width], heads: heads.length };
}

function enumerateColumns(units: readonly ColumnUnit[], offset: number): Int32Array {
  let columns = [offset];
  for (const { size, stride } of units) {
    columns = columns.flatMap((column) =>
      Array.from({ length: size }, (_, index) => column + index * stride),
    );
  }
  return Int32Array.from(columns);
}

/** The leading atoms of a view in the order of the projection's own axes; undefined if one was lost on the way. */
export function leadAtoms(view: View): LeadAtom[] | undefined {
  const leads = view.axes.flat().filter((atom): atom is LeadAtom => atom.kind === 'lead');
  if (leads.some((atom) => atom.order === undefined)) return undefined;
  return leads.sort((a, b) => compareOrder(a.order ?? [], b.order ?? []));
}

function compareOrder(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
