/** Reading safetensors files: the header at once, tensors as byte ranges that are read when they are asked for. */
import { closeSync, fstatSync } from 'node:fs';
import { errors } from '../errors';
import type { ByteRange } from '../onnx/bytes';
import type { DataType } from '../onnx/data-types';
import { fileBytes, openForReading, readFully } from './file-bytes';
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
 * Opens one safetensors file. Nothing stays open.
 * @throws DiffxError file-not-found, unreadable, truncated, not-safetensors, safetensors-tensor (exit 2)
 */
export function openSafetensorsFile(path: string): Safetensors {
  const { json, dataBytes } = readHeader(path);
  const header = parseHeader(path, json, dataBytes);
  const dataStart = 8 + json.length;
  const tensors = new Map<string, StoredTensor>(
    header.tensors.map(({ name, dtype, shape, begin, end }) => [
      name,
      { dtype, shape, data: fileBytes(path, dataStart + begin, end - begin), file: path },
    ]),
  );
  return { path, names: [...tensors.keys()], get: (name) => tensors.get(name), metadata: header.metadata };
}

function readHeader(path: string): { json: Uint8Array; dataBytes: number } {
  const file = openForReading(path);
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) throw errors.notSafetensors(path, 'it is not a regular file');
    if (stat.size < 8) throw errors.notSafetensors(path, `it has ${stat.size} bytes, a header needs 8`);
    const prefix = new Uint8Array(8);
    readFully(file, path, prefix, 0);
    const length = new DataView(prefix.buffer).getBigUint64(0, true);
    if (length > MAX_HEADER_BYTES)
      throw errors.notSafetensors(
        path,
        `it announces a header of ${length} bytes, more than ${MAX_HEADER_BYTES}`,
      );
    const json = new Uint8Array(Number(length));
    if (8 + json.length > stat.size) throw errors.truncated(path, 8 + json.length, stat.size);
    readFully(file, path, json, 8);
    return { json, dataBytes: stat.size - 8 - json.length };
  } finally {
    closeSync(file);
  }
}
