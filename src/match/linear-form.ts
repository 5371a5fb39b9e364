import {
  type Atom,
  type Dataflow,
  Dim,
  einsumTerms,
  projectionView,
  type Shapes,
  type View,
} from '../analyse';
import type { Node, Value } from '../ir';

/** A product as a linear layer: which axes of the weight number columns, which are summed, what comes out. */
export interface LinearForm {
  readonly kind: 'linear' | 'convolution';
  readonly input: Value;
  readonly inputOrder: readonly number[] | undefined;
  readonly weight: Value;
  /** Axes of the weight, in the order in which they number columns. */
  readonly columnAxes: readonly number[];
  readonly rowAxes: readonly number[];
  readonly rowShape: readonly number[];
  readonly outFeatures: number;
  readonly view: View;
  /** True where operands are transposed or scaled in a way that is not written a second time. */
  readonly scaled: boolean;
}

type Sizes = readonly Dim[];

/**
 * Reads MatMul, Gemm, Einsum and Conv as linear layers of data; undefined for what is none: products of two
 * activations, products with vectors (rotary tables), per-head matrices, convolutions that mix no channels.
 */
export function linearForm(node: Node, dataflow: Dataflow, shapes: Shapes): LinearForm | undefined {
  const weightIndex = node.is('Einsum') && !dataflow.dependsOnData(node.inputs[0]) ? 0 : 1;
  const [input, weight] = [node.inputs[1 - weightIndex], node.inputs[weightIndex]];
  if (!node.is('MatMul', 'Gemm', 'Einsum', 'Conv') || !input || !weight) return undefined;
  if (dataflow.dependsOnData(weight) || !dataflow.dependsOnData(input)) return undefined;
  const [inputShape, weightShape] = [shapes.shape(input), shapes.shape(weight)];
  const output = shapes.shape(node.outputs[0]);
  if (!weightShape) return undefined;
  const read = { node, input, weight, inputShape, weightShape, output, weightIndex };
  const form = node.is('Conv')
    ? convolution(read)
    : node.is('Einsum')
      ? einsum(read)
      : node.is('Gemm')
        ? gemm(read)
        : matMul(read);
  return form && form.outFeatures > 1 && form.rowShape.reduce((all, size) => all * size, 1) > 1
    ? form
    : undefined;
}

interface Read {
  readonly node: Node;
  readonly input: Value;
  readonly weight: Value;
  readonly weightIndex: number;
  readonly inputShape: Sizes | undefined;
  readonly weightShape: Sizes;
  readonly output: Sizes | undefined;
}

/** Sizes as numbers; undefined where one is not known. */
function numbers(shape: Sizes, axes: readonly number[]): number[] | undefined {
  const sizes = axes.map((axis) => shape[axis]?.value);
  return sizes.every((size) => size !== undefined) ? sizes.flatMap((size) => size ?? []) : undefined;
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((all, size) => all * size, 1);
}

function gemm({ node, input, weight, weightShape, output }: Read): LinearForm | undefined {
  const outFirst = node.int('transB') === 1;
  const [columnAxes, rowAxes] = outFirst ? [[0], [1]] : [[1], [0]];
  const [columns, rowShape] = [numbers(weightShape, columnAxes), numbers(weightShape, rowAxes)];
  if (weightShape.length !== 2 || !columns || !rowShape || !output) return undefined;
  const outFeatures = product(columns);
  const scaled =
    node.int('transA') === 1 ||
    (node.float('alpha') ?? 1) !== 1 ||
    (node.inputs[2] !== undefined && (node.float('beta') ?? 1) !== 1);
  const view = projectionView(output.slice(0, -1), outFeatures);
  const rest = { inputOrder: undefined, columnAxes, rowAxes, rowShape, outFeatures, view, scaled };
  return { kind: 'linear', input, weight, ...rest };
}

/** x W with W [in, out], or one matrix for each head, [heads, in, out], of an input that all heads share. */
function matMul({ input, weight, inputShape, weightShape, output }: Read): LinearForm | undefined {
  const rank = weightShape.length;
  if (rank < 2 || !output) return undefined;
  const batch = weightShape.flatMap((size, axis) => (axis < rank - 2 && size.value !== 1 ? [axis] : []));
  const columnAxes = [...batch, rank - 1];
  const [columns, rowShape] = [numbers(weightShape, columnAxes), numbers(weightShape, [rank - 2])];
  if (!columns || !rowShape) return undefined;
  const outFeatures = product(columns);
  const common = { kind: 'linear', input, weight, inputOrder: undefined, scaled: false } as const;
  const form = { ...common, columnAxes, rowAxes: [rank - 2], rowShape, outFeatures };
  if (batch.length === 0) return { ...form, view: projectionView(output.slice(0, -1), outFeatures) };
  if (!inputShape) return undefined;
  const [fromWeight, fromInput] = [output.length - rank, output.length - inputShape.length];
  const axes: Atom[][] = [];
  let left = outFeatures;
  for (const [axis, size] of output.entries()) {
    const inputSize = inputShape[axis - fromInput];
    if (axis === output.length - 1 || batch.includes(axis - fromWeight)) {
      // An input of its own for each head is no linear layer of all columns.
      if (axis < output.length - 1 && inputSize !== undefined && inputSize.value !== 1) return undefined;
      left /= weightShape[axis - fromWeight]?.value ?? 1;
      axes.push([{ kind: 'column', size: weightShape[axis - fromWeight] ?? size, stride: left }]);
    } else axes.push(size.value === 1 ? [] : [{ kind: 'lead', size, order: [axis - fromInput] }]);
  }
  return { ...form, view: { axes, offset: 0 } };
}

/** Letters of the weight are summed, or in the result alone; those of the input are summed, or lead. */
function einsum({ node, input, weight, weightIndex, inputShape, weightShape }: Read): LinearForm | undefined {
  const ranks = weightIndex === 1 ? [inputShape, weightShape] : [weightShape, inputShape];
  const terms = einsumTerms(
    node,
    ranks.map((shape) => shape?.length),
  );
  const [x, w] = [terms?.inputs[1 - weightIndex], terms?.inputs[weightIndex]];
  if (terms?.inputs.length !== 2 || x === undefined || w === undefined || !inputShape) return undefined;
  const { output } = terms;
  const rows = [...x].filter((letter) => w.includes(letter));
  const [row] = rows;
  const leads = [...x].filter((letter) => letter !== row);
  const columns = [...output].filter((letter) => !x.includes(letter));
  const plain =
    rows.length === 1 &&
    row !== undefined &&
    !output.includes(row) &&
    leads.every((letter) => output.includes(letter)) &&
    [...w].every((letter) => letter === row || columns.includes(letter)) &&
    new Set(x).size === x.length;
  if (!plain) return undefined;
  const columnAxes = columns.map((letter) => w.indexOf(letter));
  const [sizes, rowShape] = [numbers(weightShape, columnAxes), numbers(weightShape, [w.indexOf(row)])];
  if (!sizes || !rowShape) return undefined;
  const outFeatures = product(sizes);
  let left = outFeatures;
  const axes = [...output].map((letter): Atom[] => {
    const column = columns.indexOf(letter);
    const size = column < 0 ? inputShape[x.indexOf(letter)] : Dim.of(sizes[column] ?? 1);
    if (column < 0)
      return size?.value === 1
        ? []
        : [{ kind: 'lead', size: size ?? Dim.unknown(), order: [leads.indexOf(letter)] }];
    left /= sizes[column] ?? 1;
    return size && size.value !== 1 ? [{ kind: 'column', size, stride: left }] : [];
  });
  const order = [...leads, row].map((letter) => x.indexOf(letter));
  const inputOrder = order.every((from, to) => from === to) ? undefined : order;
  const view = { axes, offset: 0 };
  const rest = { columnAxes, rowAxes: [w.indexOf(row)], rowShape, outFeatures, view, scaled: false };
  return { kind: 'linear', input, weight, inputOrder, ...rest };
}

/** A convolution over any number of axes. One that keeps channels apart is no projection: it weighs what one has given. */
function convolution({ input, weight, weightShape, output }: Read): LinearForm | undefined {
  const rowAxes = weightShape.map((_, axis) => axis).slice(1);
  const [columns, rowShape] = [numbers(weightShape, [0]), numbers(weightShape, rowAxes)];
  const [outFeatures] = columns ?? [];
  if (!rowShape || outFeatures === undefined || rowShape[0] === 1 || !output) return undefined;
  const axes = output.map((size, axis): Atom[] => {
    if (axis === 1) return [{ kind: 'column', size: Dim.of(outFeatures), stride: 1 }];
    return size.value === 1 ? [] : [{ kind: 'lead', size, order: [axis === 0 ? 0 : axis - 1] }];
  });
  const view = { axes, offset: 0 };
  const rest = { columnAxes: [0], rowAxes, rowShape, outFeatures, view, scaled: false };
  return { kind: 'convolution', input, weight, inputOrder: undefined, ...rest };
}
