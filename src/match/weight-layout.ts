import {
  type Atom,
  constantTensor,
  type Dataflow,
  Dim,
  followViews,
  isLayout,
  isPure,
  type Shapes,
  tensorShape,
  type View,
} from '../analyse';
import type { Node, Value } from '../ir';
import type { TensorProto } from '../onnx';

/** Some positions, a stride apart. */
export interface Stride {
  readonly size: number;
  readonly stride: number;
}

/** Where the numbers of a linear layer stand in a stored tensor, counted in elements. */
export interface WeightLayout {
  readonly offset: number;
  /** Row-major over these, the columns are numbered. */
  readonly columns: readonly Stride[];
  /** Row-major over these, what a column is multiplied with. */
  readonly row: readonly Stride[];
}

/** The positions that row-major axes run over. */
export function positions(axes: readonly Stride[], offset = 0): Int32Array {
  let found = Int32Array.of(offset);
  for (const { size, stride } of axes) {
    const next = new Int32Array(found.length * size);
    for (let at = 0; at < found.length; at++)
      for (let index = 0; index < size; index++) next[at * size + index] = (found[at] ?? 0) + index * stride;
    found = next;
  }
  return found;
}

/** A constant operand as a strided view of a stored tensor. */
export interface StoredView {
  /** The value that holds the tensor: an initializer, or the output of a Constant. */
  readonly holder: Value;
  readonly tensor: TensorProto;
  /** Over the elements of the tensor. */
  readonly view: View;
  /** Element type of the operand, where it is cast. */
  readonly castTo: number | undefined;
}

/** Follows an operand back to the tensor it is laid out from: through layout operators and casts, nothing that computes. */
export function storedView(operand: Value, dataflow: Dataflow, shapes: Shapes): StoredView | undefined {
  const chain: Node[] = [];
  let holder = operand;
  let castTo: number | undefined;
  for (let node = holder.producer; node && !node.is('Constant'); node = holder.producer) {
    const [source] = node.inputs;
    const moves = isLayout(node) && !node.is('Expand', 'Tile');
    if (!source || (!moves && !node.is('Cast')) || dataflow.dependsOnData(source)) return undefined;
    if (node.is('Cast')) castTo ??= node.int('to');
    chain.unshift(node);
    holder = source;
  }
  const tensor = constantTensor(holder);
  if (!tensor) return undefined;
  const shape = tensorShape(tensor);
  const axes = shape.map((size, axis): Atom[] => {
    const stride = shape.slice(axis + 1).reduce((all, dim) => all * dim, 1);
    return size === 1 ? [] : [{ kind: 'column', size: Dim.of(size), stride }];
  });
  const view = followViews(shapes, new Map([[holder, { axes, offset: 0 }]]), chain).get(operand);
  if (!view || !('axes' in view) || !isPure(view)) return undefined;
  return { holder, tensor, view, castTo: castTo === tensor.dataType ? undefined : castTo };
}

/** The strides of some axes of a stored view; undefined where an axis repeats or its size is not known. */
export function stridesOf({ view }: StoredView, axes: readonly number[]): Stride[] | undefined {
  const strides = axes.flatMap((axis) =>
    (view.axes[axis] ?? []).map((atom): Stride | undefined =>
      atom.kind === 'column' && atom.stride !== undefined && atom.size.value !== undefined
        ? { size: atom.size.value, stride: atom.stride }
        : undefined,
    ),
  );
  return strides.every((each) => each !== undefined) ? strides : undefined;
}
