import { type Dataflow, projectionView, type Shapes, smallConstant, type View } from '../analyse';
import type { Node, Value } from '../ir';
import { dataTypeName, isFloatType, type TensorProto } from '../onnx';
import { linearForm } from './linear-form';
import type { Reason } from './outcome';
import type { QuantizedProduct, QuantizedWeights } from './quantized-parts';
import { quantizedProduct } from './quantized-projection';
import { positions, type StoredView, storedView, stridesOf, type WeightLayout } from './weight-layout';

/** A linear layer with constant weights: the product, and the bias behind it where there is one. */
export interface Projection {
  /** A convolution keeps the layout of its own weight, [columns, in / groups, kernel]. */
  readonly kind: 'linear' | 'convolution';
  /** MatMul, Gemm, Einsum or Conv, or the product of a quantized one. */
  readonly node: Node;
  /** What is projected. */
  readonly input: Value;
  /** Axes of the input in the order [leading axes, features]; undefined where they stand so, and for convolutions. */
  readonly inputOrder: readonly number[] | undefined;
  /** Number of axes of the input. */
  readonly inputRank: number;
  /** The operand that holds the weight, as the node reads it. */
  readonly weight: Value;
  /** The value that holds the stored weight, behind what lays it out. */
  readonly holder: Value;
  /** The stored weight. */
  readonly tensor: TensorProto;
  /** Where the columns stand in the stored weight. */
  readonly layout: WeightLayout;
  /** Element type that the stored weight is cast to; undefined where it is not. */
  readonly castTo: number | undefined;
  /** Shape of what a column is multiplied with: [in], or [in / groups, kernel] of a convolution. */
  readonly rowShape: readonly number[];
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Set where the weight is stored quantized; `weight` and `tensor` are then its numbers. */
  readonly quantized: QuantizedWeights | undefined;
  readonly bias: ProjectionBias | undefined;
  /** The projected value, bias included. */
  readonly output: Value;
  /** Where the columns stand in it. */
  readonly view: View;
}

export interface ProjectionBias {
  /** The Add, or the Gemm or Conv itself. */
  readonly node: Node;
  readonly value: Value;
  /** The value that holds the stored bias. */
  readonly holder: Value;
  readonly tensor: TensorProto;
  /** Where the columns stand in the stored bias: by their number, or by their place among those of the side. */
  readonly layout: WeightLayout;
  readonly counts: 'columns' | 'places';
  readonly castTo: number | undefined;
}

/** A product with a constant matrix that is no linear layer diffx can write a second time, and why. */
interface Refused {
  readonly refused: Omit<Reason, 'node'>;
}

const SCALED: Refused['refused'] = {
  code: 'projection-form',
  wanted: 'x W + b',
  found: 'a product with transposed or scaled operands',
};

const known = new WeakMap<Shapes, Map<Node, Projection | Refused | undefined>>();

function layerAt(node: Node, dataflow: Dataflow, shapes: Shapes): Projection | Refused | undefined {
  const layers = known.get(shapes) ?? new Map<Node, Projection | Refused | undefined>();
  known.set(shapes, layers);
  if (!layers.has(node)) layers.set(node, readLayer(node, dataflow, shapes));
  return layers.get(node);
}

/**
 * True for a product with a constant matrix, both dimensions above 1, whose other operand depends on data: what every
 * linear layer is, and the products of rotary tables are not.
 */
export function isProjection(node: Node, dataflow: Dataflow, shapes: Shapes): boolean {
  return layerAt(node, dataflow, shapes) !== undefined;
}

/** Describes a projection; a reason where it is none that diffx can write a second time. */
export function describeProjection(
  node: Node,
  dataflow: Dataflow,
  shapes: Shapes,
): Projection | Reason | undefined {
  const layer = layerAt(node, dataflow, shapes);
  return layer && 'refused' in layer ? { ...layer.refused, node } : layer;
}

function readLayer(node: Node, dataflow: Dataflow, shapes: Shapes): Projection | Refused | undefined {
  const quantized = quantizedProduct(node, dataflow, shapes);
  if (quantized) return describeQuantized(quantized, dataflow, shapes);
  const form = linearForm(node, dataflow, shapes);
  const output = node.outputs[0];
  const inputRank = form && shapes.shape(form.input)?.length;
  if (!form || !output || inputRank === undefined) return undefined;
  const stored = storedView(form.weight, dataflow, shapes);
  if (!stored) {
    if (!form.weight.producer) return undefined;
    if (form.scaled) return { refused: SCALED };
    const found = `a weight that '${form.weight.producer.label}' computes`;
    return {
      refused: { code: 'weight-not-constant', wanted: 'a linear layer whose weight is stored', found },
    };
  }
  const types = [stored.tensor.dataType ?? 0, stored.castTo ?? stored.tensor.dataType ?? 0];
  const odd = types.find((type) => !isFloatType(type));
  if (odd !== undefined) {
    const found = `weights of type ${dataTypeName(odd)}`;
    return { refused: { code: 'projection-form', wanted: 'weights of a type that can be trained', found } };
  }
  const layout = weightLayout(stored, form.columnAxes, form.rowAxes);
  const gemmTerm = node.is('Gemm', 'Conv') ? node.inputs[2] : undefined;
  const bias = gemmTerm
    ? termBias(node, gemmTerm, form.outFeatures, dataflow, shapes)
    : addedBias(output, form.view, dataflow, shapes);
  if (!layout || form.scaled || (gemmTerm && !bias)) {
    return { refused: SCALED };
  }
  const behind = bias && bias.node !== node ? bias.node.outputs[0] : output;
  return {
    kind: form.kind,
    node,
    input: form.input,
    inputOrder: form.inputOrder,
    inputRank,
    weight: form.weight,
    holder: stored.holder,
    tensor: stored.tensor,
    layout,
    castTo: stored.castTo,
    rowShape: form.rowShape,
    inFeatures: form.rowShape.reduce((all, size) => all * size, 1),
    outFeatures: form.outFeatures,
    quantized: undefined,
    bias,
    output: behind ?? output,
    view: form.view,
  };
}

function weightLayout(
  stored: StoredView,
  columnAxes: readonly number[],
  rowAxes: readonly number[],
): WeightLayout | undefined {
  const [columns, row] = [stridesOf(stored, columnAxes), stridesOf(stored, rowAxes)];
  return columns && row && { offset: stored.view.offset, columns, row };
}

function describeQuantized(
  product: QuantizedProduct,
  dataflow: Dataflow,
  shapes: Shapes,
): Projection | undefined {
  const weight = product.quantized.parts.find(({ role }) => role === 'weight');
  const shape = shapes.shape(product.output);
  if (!weight || !shape) return undefined;
  const { inFeatures, outFeatures } = product;
  const view = projectionView(shape.slice(0, -1), outFeatures);
  const adds = product.quantized.parts.some(({ role }) => role === 'bias');
  const bias = adds ? undefined : addedBias(product.output, view, dataflow, shapes);
  const rows = weight.layout === 'rows';
  return {
    ...product,
    kind: 'linear',
    inputOrder: undefined,
    inputRank: shape.length,
    weight: weight.value,
    holder: weight.value,
    tensor: weight.tensor,
    layout: {
      offset: 0,
      columns: [{ size: outFeatures, stride: rows ? inFeatures : 1 }],
      row: [{ size: inFeatures, stride: rows ? 1 : outFeatures }],
    },
    castTo: undefined,
    rowShape: [inFeatures],
    bias,
    output: bias?.node.outputs[0] ?? product.output,
    view,
  };
}

/** The element type a projection computes in: that of its weight, or of the scale of a quantized one. */
export function projectionType({ tensor, castTo, quantized }: Projection): number {
  const scale = quantized?.parts.find(({ role }) => role === 'scale')?.tensor;
  return castTo ?? (scale ?? tensor).dataType ?? 0;
}

/** The third input of a Gemm or Conv. */
function termBias(
  node: Node,
  value: Value,
  columns: number,
  dataflow: Dataflow,
  shapes: Shapes,
): ProjectionBias | undefined {
  const shape = shapes.shape(value);
  const vector = shape?.at(-1)?.value === columns && shape.slice(0, -1).every((dim) => dim.value === 1);
  return vector ? storedBias(node, value, [shape.length - 1], dataflow, shapes) : undefined;
}

/** The Add behind a product with a constant that has a number for each column, and the same for all rows. */
function addedBias(
  output: Value,
  view: View,
  dataflow: Dataflow,
  shapes: Shapes,
): ProjectionBias | undefined {
  const [add] = output.readers;
  if (output.uses.size !== 1 || !add?.is('Add') || add.graph !== output.producer?.graph) return undefined;
  const value = add.inputs[0] === output ? add.inputs[1] : add.inputs[0];
  const shape = shapes.shape(value);
  const rank = shapes.shape(output)?.length;
  if (!value || !shape || rank === undefined || shapes.shape(add.outputs[0])?.length !== rank)
    return undefined;
  const missing = rank - shape.length;
  const axes: number[] = [];
  for (const [axis, atoms] of view.axes.entries()) {
    const size = shape[axis - missing];
    const column = atoms.find((atom) => atom.kind === 'column');
    if (column ? !size?.equals(column.size) : size !== undefined && size.value !== 1) return undefined;
    if (column) axes.push(axis - missing);
  }
  if (missing < 0 || axes.length === 0) return undefined;
  return storedBias(add, value, axes, dataflow, shapes);
}

function storedBias(
  node: Node,
  value: Value,
  axes: readonly number[],
  dataflow: Dataflow,
  shapes: Shapes,
): ProjectionBias | undefined {
  const stored = storedView(value, dataflow, shapes);
  const columns = stored && stridesOf(stored, axes);
  if (!stored || !columns || !isFloatType(stored.tensor.dataType)) return undefined;
  const { holder, tensor, castTo, view } = stored;
  const layout = { offset: view.offset, columns, row: [] };
  return { node, value, holder, tensor, layout, counts: 'columns', castTo };
}

/**
 * Axes of the input in the order [leading axes, features], where a product with a matrix is all that the projection does;
 * undefined for a convolution that mixes positions or keeps channels apart.
 */
export function featuresLast({
  kind,
  node,
  inputOrder,
  inputRank,
  rowShape,
}: Projection): number[] | undefined {
  const axes = Array.from({ length: inputRank }, (_, axis) => axis);
  if (kind === 'linear') return [...(inputOrder ?? axes)];
  const all = (name: string, value: number) => (node.ints(name) ?? []).every((each) => each === value);
  const pointwise = rowShape.slice(1).every((size) => size === 1) && (node.int('group') ?? 1) === 1;
  return pointwise && all('strides', 1) && all('pads', 0) ? [0, ...axes.slice(2), 1] : undefined;
}

/** Where each of some columns begins in the stored weight, in elements; `rowPositions` are counted from there. */
export function columnPositions({ layout }: Projection, columns: Int32Array): Int32Array {
  const all = positions(layout.columns, layout.offset);
  return columns.map((column) => all[column] ?? 0);
}

/** Where the numbers of a column stand behind its first, in elements. */
export function rowPositions({ layout }: Projection): Int32Array {
  return positions(layout.row);
}

/** Where the biases of the columns of one side stand in the stored bias, in elements. */
export function biasPositions({ layout, counts }: ProjectionBias, columns: Int32Array): Int32Array {
  const all = positions(layout.columns, layout.offset);
  return columns.map((column, place) => all[counts === 'columns' ? column : place] ?? 0);
}

/** True for a scalar constant, however it is stored. */
export function isScalarConstant(value: Value | undefined, shapes: Shapes): boolean {
  return smallConstant(shapes.model, value)?.values.length === 1;
}
