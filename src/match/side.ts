import {
  ancestors,
  axisSize,
  type ColumnAtom,
  columnAtoms,
  columnCount,
  type Dataflow,
  Dim,
  dataInputs,
  descendants,
  followViews,
  isLayout,
  isPure,
  type LeadAtom,
  type LostView,
  projectionView,
  regroup,
  type Shapes,
  type View,
} from '../analyse';
import type { Node, Value } from '../ir';
import { fail } from './outcome';
import { describeProjection, isProjection, isScalarConstant, type Projection } from './projection';

/** What a search for projections stopped at. */
export interface Reach {
  readonly projections: Projection[];
  /** Nodes that hold past keys or anything else that is fed and joins the operand; by the value it reads. */
  readonly fed: Value[];
}

/**
 * Walks back from an operand to the linear layers it comes from. Tables and masks, which come from no linear layer,
 * are passed over.
 */
export function reachProjections(operand: Value, dataflow: Dataflow, shapes: Shapes): Reach {
  const projections: Projection[] = [];
  const fed: Value[] = [];
  const seen = new Set<Value>();
  const open = [operand];
  for (let value = open.pop(); value; value = open.pop()) {
    if (seen.has(value) || !dataflow.dependsOnData(value)) continue;
    seen.add(value);
    const node = value.producer;
    if (!node) {
      fed.push(value);
      continue;
    }
    if (isProjection(node, dataflow, shapes)) {
      const projection = describeProjection(node, dataflow, shapes);
      if (!projection)
        fail('projection-form', node, 'x W + b', 'a product with transposed or scaled operands');
      if (!projections.some((known) => known.node === node)) projections.push(projection);
      continue;
    }
    if (isUnresolvedLayer(node, dataflow, shapes)) {
      const by = node.inputs[1]?.producer?.label ?? '';
      fail(
        'weight-not-constant',
        node,
        'a linear layer whose weight is stored',
        `a weight that '${by}' computes`,
      );
    }
    if (node.is('Softmax'))
      fail('no-projection', node, 'a linear layer before the scores', `${node.operator} '${node.label}'`);
    if (node.bodies.size > 0) fail('control-flow', node, 'operators without bodies', node.operator);
    open.push(...dataInputs(node));
  }
  return { projections, fed };
}

/** A product with a matrix that is known before the model runs, but not stored as it is read. */
function isUnresolvedLayer(node: Node, dataflow: Dataflow, shapes: Shapes): boolean {
  const weight = node.inputs[1];
  if (!node.is('MatMul', 'Gemm') || !weight || dataflow.dependsOnData(weight)) return false;
  const shape = shapes.shape(weight);
  return (
    weight.producer !== undefined &&
    !weight.producer.is('Constant') &&
    shape?.length === 2 &&
    shape.every((dim) => dim.value !== 1)
  );
}

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

/** Queries or keys, from their projection to the product of scores. */
export interface Side extends HeadedSide {
  readonly projection: Projection;
  /** Number of axes of the projected value. */
  readonly projectionRank: number;
  /** Elementwise operators between a packed projection and `separated`, in order (casts, clipping). */
  readonly between: readonly Node[];
  /** Column of the projection that holds width position w of head i, at index i * width + w. */
  readonly columns: Int32Array;
}

/** Some columns of a projection, a stride apart. */
export interface ColumnUnit {
  readonly size: number;
  readonly stride: number;
}

/**
 * Follows the columns of a projection to an operand of the scores.
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
  const { projections, fed } = reachProjections(operand, dataflow, shapes);
  const [projection, second] = projections;
  if (!projection) {
    const from = fed[0] ? `input '${fed[0].name}'` : 'no linear layer';
    fail('no-projection', anchor, `a linear layer with constant weights behind '${operand.name}'`, from);
  }
  if (second) {
    fail(
      'several-projections',
      second.node,
      'one linear layer for each of queries and keys',
      projections.map((each) => `'${each.node.label}'`).join(', '),
    );
  }
  const leading = shapes.shape(projection.output)?.slice(0, -1);
  if (!leading) fail('layout-lost', projection.node, 'a projection of known rank', 'an unknown rank');
  const path = descendants([projection.output], ancestors(operand, new Set([projection.output])));
  const whole = projectionView(leading, projection.outFeatures);
  const views = followViews(shapes, new Map([[projection.output, whole]]), path);
  const reached = views.get(operand);
  if (!reached)
    fail('layout-lost', anchor, `'${operand.name}' to come from '${projection.node.label}'`, 'no path');
  const heads = 'axes' in reached ? splitColumns(reached, widthAxis, headCount, anchor) : undefined;
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
  const passed = (value: Value) => dominates(value, projection.output, operand, path);
  const own = lost
    ? pure.findLast(({ value }) => passed(value))?.columns
    : columnCount(knownView(operandView));
  const onPath = pure.filter(({ columns }) => columns === own);
  const finest = onPath.at(-1)?.view;
  const start = onPath.find(({ value }) => passed(value));
  if (own === undefined || !start || !finest) {
    fail('columns-mixed', projection.node, `a value with the ${own} columns of this side alone`, 'none');
  }
  const { value: separated, view } = start;
  const width = shapes.shape(operand)?.[widthAxis ?? -1]?.value;
  const split =
    lost || !heads
      ? countedHeads(widthAxis === undefined ? own / (headCount ?? 1) : width, own, operandView)
      : heads;
  const units = columnUnits(finest, split, projection);
  const columns = enumerateColumns(units.all, finest.offset);
  const before = new Set(ancestors(separated, new Set([projection.output])));
  const between = path.filter((node) => before.has(node) && !isLayout(node));
  for (const node of between) {
    const others = node.inputs.filter((input) => input && !views.has(input));
    const uniform = others.every((input) => isScalarConstant(input, shapes));
    if (!uniform)
      fail(
        'columns-mixed',
        node,
        'operators that treat all columns of a packed projection alike',
        node.operator,
      );
  }
  return {
    projection,
    projectionRank: leading.length + 1,
    separated,
    view,
    between,
    heads: split.heads,
    width: own / split.heads,
    columns,
    units: units.all,
    headUnits: units.heads,
    operand,
    operandView,
  };
}

/** True if everything that flows from a projection to an operand passes through a value. */
function dominates(value: Value, from: Value, to: Value, path: readonly Node[]): boolean {
  if (value === from || value === to) return true;
  const reached = new Set<Value>([from]);
  for (const node of path) {
    if (!dataInputs(node).some((input) => reached.has(input))) continue;
    for (const output of node.outputs) if (output && output !== value) reached.add(output);
  }
  return !reached.has(to);
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
function splitColumns(
  view: View,
  widthAxis: number | undefined,
  headCount: number | undefined,
  anchor: Node,
): HeadSplit {
  const headAtoms = widthAxis === undefined ? leadingHeads(view, headCount) : headAxes(view, widthAxis);
  if (!headAtoms) {
    const width = widthAxis === undefined ? 'the last axis' : `axis ${widthAxis}`;
    fail('heads-unknown', anchor, `heads and a width on ${width}`, 'columns that do not divide so');
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
