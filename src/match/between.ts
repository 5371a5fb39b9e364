import {
  type Dataflow,
  frontAxis,
  isDequantize,
  isQuantize,
  type LostView,
  type Shapes,
  type View,
} from '../analyse';
import type { Node, Value } from '../ir';
import { byteSize, DataType, type TensorProto } from '../onnx';
import { fail } from './outcome';
import { isScalarConstant, type Projection } from './projection';
import { storedView, stridesOf, type WeightLayout } from './weight-layout';

/** An operator that is applied to a packed projection as a whole, before its columns are told apart. */
export interface Between {
  readonly node: Node;
  /** Inputs that hold a number for each column. */
  readonly perColumn: readonly PerColumn[];
}

export interface PerColumn {
  readonly index: number;
  readonly tensor: TensorProto;
  /** Where the number of each column stands. */
  readonly layout: WeightLayout;
  readonly castTo: number | undefined;
  /** What stands between the numbers and the operator where they are stored quantized. */
  readonly dequantize: Dequantize | undefined;
}

/** A DequantizeLinear of a constant, with a scale for all columns or one for each. */
export interface Dequantize {
  readonly node: Node;
  /** Its scale and zero point, where they hold a number for each column. */
  readonly perColumn: readonly PerColumn[];
}

/** Operators that compute each element from that element alone, and from constants. */
const ELEMENTWISE = new Set([
  'Abs',
  'Add',
  'BatchNormalization',
  'Cast',
  'Celu',
  'Clip',
  'Cos',
  'Div',
  'Dropout',
  'Elu',
  'Erf',
  'Exp',
  'Gelu',
  'HardSigmoid',
  'HardSwish',
  'Identity',
  'LeakyRelu',
  'Log',
  'Max',
  'Min',
  'Mish',
  'Mul',
  'Neg',
  'Pow',
  'Reciprocal',
  'Relu',
  'Selu',
  'Sigmoid',
  'Sin',
  'Softplus',
  'Softsign',
  'Sqrt',
  'Sub',
  'Swish',
  'Tanh',
]);

/** Those that broadcast a constant against their other operand. */
const BROADCASTING = ['Add', 'Div', 'Max', 'Min', 'Mul', 'Pow', 'Sub'];

type Views = ReadonlyMap<Value, View | LostView>;

/** An operator on a packed projection must treat all columns alike, or have a number for each of them. */
export function readBetween(
  node: Node,
  projection: Projection,
  views: Views,
  dataflow: Dataflow,
  shapes: Shapes,
): Between {
  const standard = node.domain === '' && ELEMENTWISE.has(node.opType);
  const elementwise = standard || isQuantize(node) || isDequantize(node);
  const constants = node.inputs.flatMap((value, index) =>
    value && !views.has(value) ? [{ value, index }] : [],
  );
  const axis = columnAxis(node, projection, views);
  const perColumn = constants
    .filter(({ value }) => !isScalarConstant(value, shapes))
    .map(({ value, index }) => {
      const found =
        axis === undefined ? undefined : columnNumbers(node, value, index, axis, dataflow, shapes);
      return found && found.layout.columns.reduce((all, { size }) => all * size, 1) === projection.outFeatures
        ? found
        : undefined;
    });
  if (!elementwise || !perColumn.every((each) => each !== undefined)) {
    const wanted = 'operators that treat all columns of a packed projection alike';
    fail('columns-mixed', node, wanted, node.operator);
  }
  return { node, perColumn: perColumn.flatMap((each) => each ?? []) };
}

/** The axis, counted from the end, on which all columns of the projection stand in what an operator reads. */
function columnAxis(node: Node, { outFeatures }: Projection, views: Views): number | undefined {
  for (const input of node.inputs) {
    const view = input && views.get(input);
    if (!view || !('axes' in view) || view.offset !== 0) continue;
    const at = view.axes.findIndex(([first, ...others]) => {
      const all = first?.kind === 'column' && first.stride === 1 && first.size.value === outFeatures;
      return all && others.length === 0;
    });
    return at < 0 ? undefined : at - view.axes.length;
  }
  return undefined;
}

/** The numbers of the columns in a constant operand: stored as the operator reads them, or quantized. */
function columnNumbers(
  node: Node,
  value: Value,
  index: number,
  axis: number,
  dataflow: Dataflow,
  shapes: Shapes,
): PerColumn | undefined {
  const shape = shapes.shape(value);
  if (!shape) return undefined;
  const normalises = node.is('BatchNormalization');
  const rank = shapes.shape(node.inputs[0])?.length ?? 0;
  const own = normalises ? 0 : shape.length + axis;
  const fits = normalises ? axis + rank === 1 && shape.length === 1 : node.is(...BROADCASTING);
  const single = shape.every((size, at) => at === own || size.value === 1);
  if (!fits || !single || own < 0) return undefined;
  const reader = value.producer && isDequantize(value.producer) ? value.producer : undefined;
  if (!reader) return along(value, own, index, dataflow, shapes);
  const dequantize = readDequantize(reader, own, shape.length, dataflow, shapes);
  const stored = reader.inputs[0] && along(reader.inputs[0], own, index, dataflow, shapes);
  const whole = STORED_WHOLE.has(stored?.tensor.dataType ?? 0);
  return stored && whole && dequantize ? { ...stored, dequantize } : undefined;
}

/** What is stored of a constant along one of its axes. */
function along(
  value: Value,
  axis: number,
  index: number,
  dataflow: Dataflow,
  shapes: Shapes,
): PerColumn | undefined {
  const stored = storedView(value, dataflow, shapes);
  const columns = stored && stridesOf(stored, [axis]);
  if (!columns || !isStoredWhole(stored.tensor.dataType ?? 0)) return undefined;
  const layout = { offset: stored.view.offset, columns, row: [] };
  return { index, tensor: stored.tensor, layout, castTo: stored.castTo, dequantize: undefined };
}

/** True for types whose numbers are bytes of their own: no text, and nothing that shares a byte with another. */
function isStoredWhole(type: number): boolean {
  const [one, two] = [byteSize(type, 1), byteSize(type, 2)];
  return one !== undefined && two === 2 * one;
}

/** Types of quantized numbers of which none shares a byte with another. */
const STORED_WHOLE = new Set<number>([
  DataType.INT8,
  DataType.UINT8,
  DataType.INT16,
  DataType.UINT16,
  DataType.INT32,
]);

function readDequantize(
  node: Node,
  axis: number,
  rank: number,
  dataflow: Dataflow,
  shapes: Shapes,
): Dequantize | undefined {
  const own = frontAxis(node.int('axis') ?? 1, rank);
  const read = node.inputs.flatMap((value, index) =>
    value && index > 0 && !isScalarConstant(value, shapes) ? [{ value, index }] : [],
  );
  const perColumn = read.map(({ value, index }) => along(value, 0, index, dataflow, shapes));
  const known = perColumn.every((each) => each !== undefined);
  if (!known || node.int('block_size') || (read.length > 0 && own !== axis)) return undefined;
  return { node, perColumn };
}
