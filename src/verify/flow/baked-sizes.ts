import { constantTensor, smallConstant, tensorShape } from '../../analyse';
import type { Graph, Model, Node } from '../../ir';
import { DataType } from '../../onnx';

/** Numbers in a graph that may be sizes of its inputs, the most frequent ones first. */
export interface BakedSizes {
  /** Batches and lengths. */
  readonly sizes: readonly number[];
  /** Heights and widths of images: as many patches as a table of positions has rows. */
  readonly places: readonly number[];
}

/** Operators by whose constants exporters bake sizes in. */
const SHAPED = [
  ...['Concat', 'ConstantOfShape', 'Equal', 'Expand', 'Gather', 'Mul', 'OneHot', 'Range', 'Reshape', 'Slice'],
  ...['Split', 'Tile', 'Where'],
];
/** Larger sizes are widths, or too long to be tried. */
const LARGEST = 1024;
const MOST = 32;
/** Tables of positions have rows for tokens that are no patches: a class, a distillation. */
const MORE_ROWS = [0, 1, 2];

/** Collects them in one walk over the main graph and its bodies. */
export function bakedSizes(model: Model): BakedSizes {
  const counts = new Map<number, number>();
  const rows = new Set<number>();
  const strides = new Set<number>();
  for (const scope of model.graph.scopes()) collect(scope, model, { counts, rows, strides });
  const sizes = [...counts].sort(([a, m], [b, n]) => n - m || a - b).map(([size]) => size);
  return { sizes: sizes.slice(0, MOST), places: placesFor(rows, strides).slice(0, MOST) };
}

interface Found {
  readonly counts: Map<number, number>;
  readonly rows: Set<number>;
  readonly strides: Set<number>;
}

function collect(scope: Graph, model: Model, { counts, rows, strides }: Found): void {
  for (const node of scope.nodes) {
    if (node.is('Conv')) {
      const stride = Math.max(1, ...(node.ints('strides') ?? []));
      if (stride > 1) strides.add(stride);
    }
    if (node.is('Add')) for (const size of tableRows(node)) rows.add(size);
    const numbers = node.is(...SHAPED) ? node.inputs.flatMap((input) => integers(model, input)) : [];
    const whole = node.is('Split') ? [numbers.reduce((all, size) => all + size, 0)] : [];
    const sizes = [...numbers, ...whole, ...(node.is('Add') ? tableRows(node) : [])];
    for (const size of sizes) if (isSize(size)) counts.set(size, (counts.get(size) ?? 0) + 1);
  }
}

function isSize(size: number): boolean {
  return Number.isInteger(size) && size >= 1 && size <= LARGEST;
}

function integers(model: Model, value: Node['inputs'][number]): readonly number[] {
  const constant = smallConstant(model, value);
  return constant?.dataType === DataType.INT64 || constant?.dataType === DataType.INT32
    ? constant.values
    : [];
}

/** Sizes of what is added to features, other than their width. */
function tableRows(node: Node): number[] {
  return node.inputs.flatMap((input) => {
    const tensor = input && constantTensor(input);
    return tensor && tensor.dims.length > 1 ? tensorShape(tensor).slice(0, -1) : [];
  });
}

function placesFor(rows: ReadonlySet<number>, strides: ReadonlySet<number>): number[] {
  const sides = [...rows].flatMap((count) => MORE_ROWS.map((more) => Math.sqrt(count - more)));
  const whole = [...new Set(sides)].filter((side) => Number.isInteger(side) && side > 1);
  return [...new Set([...strides].flatMap((stride) => whole.map((side) => side * stride)))];
}
