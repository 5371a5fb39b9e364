import { elementCount, tensorShape } from '../analyse';
import type { Model } from '../ir';
import {
  type ByteRange,
  byteSize,
  computedBytes,
  isHalfByte,
  packHalves,
  type TensorProto,
  unpackHalves,
} from '../onnx';

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

/** The elements of a stored tensor, to be read; numbers of 4 bits each in a word of its own. */
function elementsOf(model: Model, tensor: TensorProto): Words {
  const bytes = model.bytes(tensor);
  return isHalfByte(tensor.dataType)
    ? unpackHalves(bytes, elementCount(tensorShape(tensor)))
    : asWords(bytes, elementSize(tensor));
}

/** As many elements as the tensor has. */
function emptyLike({ dataType }: TensorProto, count: number): Words {
  const size = byteSize(dataType ?? 0, 1) ?? 0;
  return asWords(new Uint8Array(count * size), size);
}

/** Elements as they are stored. */
function storedAs({ dataType }: TensorProto, words: Words): Uint8Array {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  return isHalfByte(dataType) ? packHalves(bytes) : bytes;
}

/** Rows gathered at a time, so that a large weight is never held twice. */
const ROWS = 256;

/**
 * Columns of a stored weight as rows, [columns, in], as PyTorch stores a linear layer; or elements of a stored bias.
 * @param starts where each column begins, in elements
 * @param steps where its numbers stand behind that
 */
export function rowsAt(model: Model, tensor: TensorProto, starts: Int32Array, steps: Int32Array): ByteRange {
  const size = elementSize(tensor);
  const width = steps.length;
  return computedBytes(starts.length * width * size, function* () {
    const source = asWords(model.bytes(tensor), size);
    for (let from = 0; from < starts.length; from += ROWS) {
      const rows = Math.min(ROWS, starts.length - from);
      const bytes = new Uint8Array(rows * width * size);
      const target = asWords(bytes, size);
      for (let row = 0; row < rows; row++) {
        const start = starts[from + row] ?? 0;
        for (let at = 0; at < width; at++)
          target[row * width + at] = source[start + (steps[at] ?? 0)] as never;
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
  const rowLength = elementCount(tensorShape(tensor)) / layout.columns;
  const count = columns.length * rowLength;
  return computedBytes(byteSize(tensor.dataType ?? 0, count) ?? 0, () => {
    const source = elementsOf(model, tensor);
    const target = emptyLike(tensor, count);
    columns.forEach((column, index) => {
      if (layout.outFirst)
        copyStrided(source, column * rowLength, 1, target, index * rowLength, 1, rowLength);
      else copyStrided(source, column, layout.columns, target, index, columns.length, rowLength);
    });
    return [storedAs(tensor, target)];
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
  return computedBytes(model.file.tensorBytes(tensor).length, () => {
    const words = elementsOf(model, tensor).slice();
    const rows = words.length / layout.columns;
    const step = layout.outFirst ? 1 : layout.columns;
    const start = (column: number) => (layout.outFirst ? column * rows : column);
    from.forEach((column, index) => {
      copyStrided(words, start(column), step, words, start(to[index] ?? 0), step, rows);
    });
    return [storedAs(tensor, words)];
  });
}

/** A stored weight or bias in which what begins at each of `to` holds what began at the same of `from`. */
export function overwriteRows(
  model: Model,
  tensor: TensorProto,
  from: Int32Array,
  to: Int32Array,
  steps: Int32Array,
): ByteRange {
  const size = elementSize(tensor);
  return computedBytes(model.file.tensorBytes(tensor).length, () => {
    const bytes = new Uint8Array(model.bytes(tensor));
    const words = asWords(bytes, size);
    from.forEach((start, index) => {
      for (const step of steps) words[(to[index] ?? 0) + step] = words[start + step] as never;
    });
    return [bytes];
  });
}

/** A stored weight or bias with the rows given, one row [in] for each of the starts, put in their places. */
export function placeRows(
  model: Model,
  tensor: TensorProto,
  rows: ByteRange,
  starts: Int32Array,
  steps: Int32Array,
): ByteRange {
  const size = elementSize(tensor);
  return computedBytes(model.file.tensorBytes(tensor).length, () => {
    const bytes = new Uint8Array(model.bytes(tensor));
    const words = asWords(bytes, size);
    const given = asWords(rows.read(), size);
    starts.forEach((start, row) => {
      steps.forEach((step, at) => {
        words[start + step] = given[row * steps.length + at] as never;
      });
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
