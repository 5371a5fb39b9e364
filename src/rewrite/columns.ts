import type { Model } from '../ir';
import type { Projection } from '../match/projection';
import { type ByteRange, byteSize, computedBytes, type TensorProto } from '../onnx';

/** Columns of linear layers as bytes: picked, permuted or transposed without regard to what the numbers are. */

type Words = Uint8Array | Uint16Array | Uint32Array | BigUint64Array;

function asWords(bytes: Uint8Array, size: number): Words {
  const copy = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  const count = copy.byteLength / size;
  switch (size) {
    case 1:
      return copy;
    case 2:
      return new Uint16Array(copy.buffer, copy.byteOffset, count);
    case 4:
      return new Uint32Array(copy.buffer, copy.byteOffset, count);
    default:
      return new BigUint64Array(copy.buffer, copy.byteOffset, count);
  }
}

function elementSize(tensor: TensorProto): number {
  return byteSize(tensor.dataType ?? 0, 1) ?? 0;
}

/** Rows gathered at a time, so that a large weight is never held twice. */
const ROWS = 256;

/**
 * The given output columns of a projection's weight as rows: [columns, in], as PyTorch stores a linear layer.
 */
export function columnsAsRows(model: Model, projection: Projection, columns: Int32Array): ByteRange {
  const { tensor, inFeatures, outFeatures, outFirst } = projection;
  const size = elementSize(tensor);
  return computedBytes(columns.length * inFeatures * size, function* () {
    const source = asWords(model.bytes(tensor), size);
    for (let from = 0; from < columns.length; from += ROWS) {
      const rows = Math.min(ROWS, columns.length - from);
      const bytes = new Uint8Array(rows * inFeatures * size);
      const target = asWords(bytes, size);
      for (let row = 0; row < rows; row++) {
        const column = columns[from + row] ?? 0;
        const start = outFirst ? column * inFeatures : column;
        copyStrided(source, start, outFirst ? 1 : outFeatures, target, row * inFeatures, 1, inFeatures);
      }
      yield bytes;
    }
  });
}

function copyStrided(
  source: Words,
  from: number,
  fromStep: number,
  target: Words,
  to: number,
  toStep: number,
  count: number,
): void {
  for (let i = 0; i < count; i++) target[to + i * toStep] = source[from + i * fromStep] as never;
}

/** The given columns of a stored tensor, laid out as it is: one row for each column, or [in, columns]. */
export function pickColumns(
  model: Model,
  tensor: TensorProto,
  layout: { readonly columns: number; readonly outFirst: boolean },
  columns: Int32Array,
): ByteRange {
  const size = elementSize(tensor);
  const length = model.file.tensorBytes(tensor).length;
  const rowLength = length / size / layout.columns;
  return computedBytes(columns.length * rowLength * size, () => {
    const source = asWords(model.bytes(tensor), size);
    const bytes = new Uint8Array(columns.length * rowLength * size);
    const target = asWords(bytes, size);
    columns.forEach((column, index) => {
      if (layout.outFirst)
        copyStrided(source, column * rowLength, 1, target, index * rowLength, 1, rowLength);
      else copyStrided(source, column, layout.columns, target, index, columns.length, rowLength);
    });
    return [bytes];
  });
}

/** The given elements of a bias vector, whatever ones stand before its last axis. */
export function biasColumns(model: Model, bias: TensorProto, columns: Int32Array): ByteRange {
  const size = elementSize(bias);
  return computedBytes(columns.length * size, () => {
    const source = asWords(model.bytes(bias), size);
    const bytes = new Uint8Array(columns.length * size);
    const target = asWords(bytes, size);
    columns.forEach((column, index) => {
      target[index] = source[column] as never;
    });
    return [bytes];
  });
}

/** A stored weight or bias in which each column of `to` holds what the column of `from` at the same index held. */
export function overwriteColumns(
  model: Model,
  tensor: TensorProto,
  layout: { readonly columns: number; readonly outFirst: boolean },
  from: Int32Array,
  to: Int32Array,
): ByteRange {
  const size = elementSize(tensor);
  const length = model.file.tensorBytes(tensor).length;
  return computedBytes(length, () => {
    const bytes = new Uint8Array(model.bytes(tensor));
    const words = asWords(bytes, size);
    const rows = words.length / layout.columns;
    const step = layout.outFirst ? 1 : layout.columns;
    const start = (column: number) => (layout.outFirst ? column * rows : column);
    from.forEach((column, index) => {
      copyStrided(words, start(column), step, words, start(to[index] ?? 0), step, rows);
    });
    return [bytes];
  });
}

/** A stored weight or bias whose columns `columns` are replaced by the rows given, one row [in] for each column. */
export function placeRows(
  model: Model,
  tensor: TensorProto,
  layout: { readonly columns: number; readonly outFirst: boolean },
  rows: ByteRange,
  columns: Int32Array,
): ByteRange {
  const size = elementSize(tensor);
  return computedBytes(model.file.tensorBytes(tensor).length, () => {
    const bytes = new Uint8Array(model.bytes(tensor));
    const words = asWords(bytes, size);
    const given = asWords(rows.read(), size);
    const width = given.length / columns.length;
    const step = layout.outFirst ? 1 : layout.columns;
    columns.forEach((column, row) => {
      copyStrided(given, row * width, 1, words, layout.outFirst ? column * width : column, step, width);
    });
    return [bytes];
  });
}

/** A matrix [rows, columns] as [columns, rows]. */
export function transposedRows(data: ByteRange, shape: readonly number[], dataType: number): ByteRange {
  const [rows = 1, columns = 1] = shape;
  const size = byteSize(dataType, 1) ?? 1;
  return computedBytes(data.length, () => {
    const source = asWords(data.read(), size);
    const bytes = new Uint8Array(data.length);
    const target = asWords(bytes, size);
    for (let row = 0; row < rows; row++) copyStrided(source, row * columns, 1, target, row, rows, columns);
    return [bytes];
  });
}
