/** The bytes of a tensor that lies in the model file, in the layout of raw_data. */
import { errors } from '../errors';
import { type ByteRange, computedBytes } from './bytes';
import { byteSize, DataType, dataTypeName } from './data-types';
import type { TensorProto } from './messages';
import { traceOf } from './trace';

/** The field that holds the elements where they are not in raw_data, and how many bytes of each entry count. */
interface TypedField {
  readonly name: 'floatData' | 'int32Data' | 'int64Data' | 'doubleData' | 'uint64Data';
  readonly width: number;
}

function typedField(type: number): TypedField | undefined {
  switch (type) {
    case DataType.FLOAT:
    case DataType.COMPLEX64:
      return { name: 'floatData', width: 4 };
    case DataType.DOUBLE:
    case DataType.COMPLEX128:
      return { name: 'doubleData', width: 8 };
    case DataType.INT64:
      return { name: 'int64Data', width: 8 };
    case DataType.UINT64:
      return { name: 'uint64Data', width: 8 };
    case DataType.UINT32:
      return { name: 'uint64Data', width: 4 };
    case DataType.INT32:
      return { name: 'int32Data', width: 4 };
    case DataType.INT16:
    case DataType.UINT16:
    case DataType.FLOAT16:
    case DataType.BFLOAT16:
      return { name: 'int32Data', width: 2 };
    case DataType.FLOAT6E2M3:
    case DataType.FLOAT6E3M2:
      // One element of 6 bits per entry, but packed in raw_data: nobody writes these yet.
      return undefined;
    default:
      return byteSize(type, 1) === undefined ? undefined : { name: 'int32Data', width: 1 };
  }
}

/**
 * Size in bytes that a tensor's dimensions and element type demand.
 * @throws tensorInvalid for strings, unknown types and impossible dimensions
 */
export function expectedBytes(tensor: TensorProto): number {
  const name = tensor.name ?? '';
  const type = tensor.dataType ?? DataType.UNDEFINED;
  const negative = tensor.dims.find((dim) => dim < 0n);
  if (negative !== undefined) throw errors.tensorInvalid(name, `has a dimension of ${negative}`);
  const count = tensor.dims.reduce((product, dim) => product * dim, 1n);
  const size = byteSize(type, Number(count));
  if (size === undefined) throw errors.tensorInvalid(name, `${dataTypeName(type)} has no byte layout`);
  if (!Number.isSafeInteger(size)) throw errors.tensorInvalid(name, `has ${count} elements`);
  return size;
}

/**
 * The bytes of a tensor that is not external.
 * @throws tensorInvalid where the bytes contradict dimensions and type
 */
export function inlineBytes(tensor: TensorProto): ByteRange {
  const size = expectedBytes(tensor);
  if (tensor.rawData !== undefined) return checkSize(tensor, tensor.rawData, size);
  const field = typedField(tensor.dataType ?? DataType.UNDEFINED);
  if (field === undefined) {
    throw errors.tensorInvalid(tensor.name ?? '', `${dataTypeName(tensor.dataType ?? 0)} outside raw_data`);
  }
  const run = traceOf(tensor)?.packed?.get(field.name);
  // Packed floats and doubles on the wire are what raw_data holds.
  if (run !== undefined && (field.name === 'floatData' || field.name === 'doubleData')) {
    return checkSize(tensor, run.bytes, size);
  }
  const count = size / field.width;
  const entries = run === undefined ? tensor[field.name].length : count;
  if (entries !== count) throw contradiction(tensor, entries * field.width, size);
  return computedBytes(size, () => littleEndian(tensor, field, count, run?.values() ?? tensor[field.name]));
}

/** @throws tensorInvalid where the range is not as long as dimensions and type demand */
export function checkSize(tensor: TensorProto, bytes: ByteRange, size: number): ByteRange {
  if (bytes.length !== size) throw contradiction(tensor, bytes.length, size);
  return bytes;
}

function contradiction(tensor: TensorProto, found: number, wanted: number): Error {
  const shape = `${dataTypeName(tensor.dataType ?? 0)}[${tensor.dims.join(', ')}]`;
  return errors.tensorInvalid(tensor.name ?? '', `${shape} takes ${wanted} bytes, ${found} are there`);
}

const CHUNK = 1 << 20;

/** Packs entries as raw_data has them. How many there are is known only at the end where they are decoded here. */
function* littleEndian(
  tensor: TensorProto,
  field: TypedField,
  count: number,
  values: Iterable<number | bigint>,
): Generator<Uint8Array, void> {
  const { width } = field;
  const bytes = Buffer.alloc(Math.min(CHUNK, count * width));
  let at = 0;
  let seen = 0;
  for (const value of values) {
    seen += 1;
    if (seen > count) break;
    writeEntry(bytes, at, value, field);
    at += width;
    if (at === bytes.length) {
      yield bytes;
      at = 0;
    }
  }
  if (seen !== count) throw contradiction(tensor, seen * width, count * width);
  yield bytes.subarray(0, at);
}

function writeEntry(bytes: Buffer, at: number, value: number | bigint, { name, width }: TypedField): void {
  if (name === 'floatData') bytes.writeFloatLE(Number(value), at);
  else if (name === 'doubleData') bytes.writeDoubleLE(Number(value), at);
  else if (width === 8) bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), at);
  else bytes.writeUIntLE(Number(BigInt.asUintN(8 * width, BigInt(value))), at, width);
}
