/** Reading safetensors files: the header at once, tensors as byte ranges that are read when they are asked for. */
import { errors } from '../errors';
import type { ByteRange } from '../onnx/bytes';
import type { DataType } from '../onnx/data-types';
import { openSource, type Source } from '../onnx/source';
import { MAX_HEADER_BYTES, parseHeader } from './safetensors-header';

export interface StoredTensor {
  readonly dtype: DataType;
  readonly shape: readonly number[];
  /** Little-endian, row-major. */
  readonly data: ByteRange;
  /** The file that holds it, for messages. */
  readonly file: string;
}

/** Named tensors of one file, or of all files of a sharded checkpoint. */
export interface Safetensors {
  readonly path: string;
  readonly names: readonly string[];
  get(name: string): StoredTensor | undefined;
  /** `__metadata__` of a file, or `metadata` of an index as far as its values are strings. */
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Opens one safetensors file.
 * @throws DiffxError file-not-found, unreadable, truncated, not-safetensors, safetensors-tensor (exit 2)
 */
export function openSafetensorsFile(path: string): Safetensors {
  const source = openSource(path);
  const json = readHeader(source);
  const dataStart = 8 + json.length;
  const header = parseHeader(path, json, source.length - dataStart);
  const tensors = new Map<string, StoredTensor>(
    header.tensors.map(({ name, dtype, shape, begin, end }) => [
      name,
      { dtype, shape, data: source.range(dataStart + begin, end - begin), file: path },
    ]),
  );
  return { path, names: [...tensors.keys()], get: (name) => tensors.get(name), metadata: header.metadata };
}

/** The JSON of the header. */
function readHeader(source: Source): Uint8Array {
  const { name: path, length: size } = source;
  if (size < 8) throw errors.notSafetensors(path, `it has ${size} bytes, a header needs 8`);
  const prefix = Buffer.from(source.range(0, 8).read());
  const length = prefix.readBigUInt64LE();
  if (length > MAX_HEADER_BYTES)
    throw errors.notSafetensors(
      path,
      `it announces a header of ${length} bytes, more than ${MAX_HEADER_BYTES}`,
    );
  if (8 + Number(length) > size) throw errors.truncated(path, 8 + Number(length), size);
  return source.range(8, Number(length)).read();
}
