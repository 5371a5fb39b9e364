/**
 * The header of a safetensors file: 8 bytes of length N (uint64, little-endian), N bytes of JSON, then the tensors' data.
 * What is checked is what the format's own implementation checks (huggingface/safetensors, README "Format" and
 * `Metadata::validate` of tensor.rs): a file that passes here loads there.
 */
import { errors } from '../errors';
import { byteSize, DataType } from '../onnx/data-types';
import { duplicateKey } from './duplicate-key';

/** The format's bound on a header, against files that are something else. */
export const MAX_HEADER_BYTES = 100_000_000;

/** The format's names of the element types that ONNX has too. F6_E2M3 and F6_E3M2 have no ONNX type. */
export const SAFETENSORS_TYPES: ReadonlyMap<string, DataType> = new Map([
  ['BOOL', DataType.BOOL],
  ['F4', DataType.FLOAT4E2M1],
  ['U8', DataType.UINT8],
  ['I8', DataType.INT8],
  ['F8_E5M2', DataType.FLOAT8E5M2],
  ['F8_E4M3', DataType.FLOAT8E4M3FN],
  ['F8_E5M2FNUZ', DataType.FLOAT8E5M2FNUZ],
  ['F8_E4M3FNUZ', DataType.FLOAT8E4M3FNUZ],
  ['F8_E8M0', DataType.FLOAT8E8M0],
  ['I16', DataType.INT16],
  ['U16', DataType.UINT16],
  ['F16', DataType.FLOAT16],
  ['BF16', DataType.BFLOAT16],
  ['I32', DataType.INT32],
  ['U32', DataType.UINT32],
  ['F32', DataType.FLOAT],
  ['C64', DataType.COMPLEX64],
  ['F64', DataType.DOUBLE],
  ['I64', DataType.INT64],
  ['U64', DataType.UINT64],
]);

export interface TensorEntry {
  readonly name: string;
  readonly dtype: DataType;
  readonly shape: readonly number[];
  /** Offsets into the data, which begins after the header. */
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  /** In the order of their data. */
  readonly tensors: readonly TensorEntry[];
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Reads and checks the JSON of a header.
 * @param dataBytes how many bytes follow the header
 * @throws DiffxError not-safetensors, safetensors-tensor
 */
export function parseHeader(path: string, json: Uint8Array, dataBytes: number): Header {
  const { __metadata__: metadata, ...tensors } = parseObject(path, json);
  const entries = Object.entries(tensors).map(([name, info]) => tensorEntry(path, name, info));
  return { tensors: checkLayout(path, entries, dataBytes), metadata: checkMetadata(path, metadata) };
}

function parseObject(path: string, json: Uint8Array): Record<string, unknown> {
  if (json[0] !== 0x7b) throw errors.notSafetensors(path, 'its header does not begin with {');
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(json);
    value = JSON.parse(text);
  } catch (error) {
    throw errors.notSafetensors(path, `its header is not valid JSON: ${(error as Error).message}`);
  }
  const duplicate = duplicateKey(text);
  if (duplicate !== undefined) throw errors.notSafetensors(path, `its header has two keys '${duplicate}'`);
  return value as Record<string, unknown>;
}

function checkMetadata(path: string, metadata: unknown): Record<string, string> {
  if (metadata === undefined || metadata === null) return {};
  if (!isRecord(metadata)) throw errors.notSafetensors(path, '__metadata__ is not an object');
  const wrong = Object.entries(metadata).find(([, value]) => typeof value !== 'string');
  if (wrong) throw errors.notSafetensors(path, `__metadata__ '${wrong[0]}' is not a string`);
  return metadata as Record<string, string>;
}

function tensorEntry(path: string, name: string, info: unknown): TensorEntry {
  const fail = (reason: string) => errors.safetensorsTensor(path, name, reason);
  if (!isRecord(info)) throw fail('its entry is not an object');
  const { dtype: typeName, shape, data_offsets: offsets } = info;
  if (typeof typeName !== 'string') throw fail('has no dtype');
  const dtype = SAFETENSORS_TYPES.get(typeName);
  if (dtype === undefined) throw fail(`element type ${typeName} is not known`);
  if (!isSizes(shape)) throw fail('its shape is not a list of sizes');
  if (!isSizes(offsets) || offsets.length !== 2) throw fail('its data_offsets are not two positions');
  const [begin, end] = offsets as [number, number];
  const size = tensorBytes(dtype, shape);
  if (size === undefined)
    throw fail(`[${shape}] of ${typeName} is not a whole number of bytes, or too large`);
  if (end - begin !== size)
    throw fail(`[${shape}] of ${typeName} takes ${size} bytes, its data_offsets span ${end - begin}`);
  return { name, dtype, shape, begin, end };
}

/** Bytes that a tensor takes, or undefined where they are no whole number or beyond what a number counts exactly. */
export function tensorBytes(dtype: DataType, shape: readonly number[]): number | undefined {
  // An empty tensor is empty however large its other sizes are.
  const count = shape.includes(0) ? 0 : shape.reduce((product, size) => product * size, 1);
  const eighth = byteSize(dtype, 8);
  if (eighth === undefined) return undefined;
  const bytes = (count * eighth) / 8;
  return Number.isSafeInteger(bytes) && Number.isSafeInteger(count) ? bytes : undefined;
}

/** The data must be covered from the first byte to the last, without gaps and without overlaps. Gives the order of the data. */
function checkLayout(path: string, entries: TensorEntry[], dataBytes: number): TensorEntry[] {
  const ordered = entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let expected = 0;
  for (const { name, begin, end } of ordered) {
    if (begin !== expected)
      throw errors.safetensorsTensor(path, name, `begins at byte ${begin} of the data, not at ${expected}`);
    if (end > dataBytes)
      throw errors.safetensorsTensor(path, name, `ends at byte ${end} of the data, which has ${dataBytes}`);
    expected = end;
  }
  if (expected !== dataBytes)
    throw errors.notSafetensors(
      path,
      `its tensors end at byte ${expected} of the data, which has ${dataBytes}`,
    );
  return ordered;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}
