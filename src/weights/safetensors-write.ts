/** Writing safetensors files: streamed, deterministic, and complete or not at all. */
import { type Output, writeFiles } from '../onnx/atomic';
import { type ByteRange, concatBytes, memoryBytes } from '../onnx/bytes';
import { byteSize, type DataType, dataTypeName } from '../onnx/data-types';
import { SAFETENSORS_TYPES, tensorBytes } from './safetensors-header';

export interface TensorToWrite {
  readonly dtype: DataType;
  readonly shape: readonly number[];
  /** Little-endian, row-major. */
  readonly data: ByteRange;
}

export interface WriteOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  /** Overwrite an existing file. */
  readonly force?: boolean;
}

/**
 * Writes tensors into one file. The same tensors give the same bytes, in whatever order they come: wide elements
 * first, as the format's own implementation does to keep the data aligned, then by name; metadata by key.
 * @throws DiffxError exists, unwritable; Error where a tensor cannot be written as it is (a fault of the caller)
 */
export function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, TensorToWrite>,
  options: WriteOptions = {},
): void {
  writeFiles([safetensorsOutput(path, tensors, options.metadata)], options.force ?? false);
}

/** The same as a file that is still to be written, together with others. */
export function safetensorsOutput(
  path: string,
  tensors: ReadonlyMap<string, TensorToWrite>,
  metadata: Readonly<Record<string, string>> = {},
): Output {
  const ordered = [...tensors].sort(
    ([nameA, a], [nameB, b]) => elementBits(b.dtype) - elementBits(a.dtype) || compare(nameA, nameB),
  );
  const header = memoryBytes(headerBytes(ordered, metadata));
  return { path, bytes: concatBytes([header, ...ordered.map(([, { data }]) => data)]) };
}

function headerBytes(
  tensors: readonly (readonly [string, TensorToWrite])[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  // A Map and not an object: objects put keys that look like numbers first.
  const entries = new Map<string, unknown>();
  const metadataKeys = Object.keys(metadata).sort(compare);
  if (metadataKeys.length > 0)
    entries.set('__metadata__', new Map(metadataKeys.map((key) => [key, metadata[key]])));
  let offset = 0;
  for (const [name, { dtype, shape, data }] of tensors) {
    const size = tensorBytes(dtype, shape);
    if (name === '__metadata__') throw new Error("'__metadata__' is not a name for a tensor");
    if (size !== data.length)
      throw new Error(`tensor '${name}': ${data.length} bytes for [${shape}] of ${dataTypeName(dtype)}`);
    entries.set(name, { dtype: typeName(dtype), shape, data_offsets: [offset, offset + size] });
    offset += size;
  }
  const json = new TextEncoder().encode(objectText(entries));
  const padded = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(padded.buffer).setBigUint64(0, BigInt(padded.length - 8), true);
  padded.set(json, 8);
  return padded;
}

function objectText(entries: ReadonlyMap<string, unknown>): string {
  const members = Array.from(entries, ([key, value]) => {
    return `${JSON.stringify(key)}:${value instanceof Map ? objectText(value) : JSON.stringify(value)}`;
  });
  return `{${members.join(',')}}`;
}

function typeName(dtype: DataType): string {
  for (const [name, type] of SAFETENSORS_TYPES) if (type === dtype) return name;
  throw new Error(`safetensors has no element type ${dataTypeName(dtype)}`);
}

function elementBits(dtype: DataType): number {
  return byteSize(dtype, 8) ?? 0;
}

/** By UTF-16 code units, which does not depend on the user's language. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
