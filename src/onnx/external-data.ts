/** Tensors whose payload lies in a side file: location, offset and length, and what a model may not ask for. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { errors } from '../errors';
import type { ByteRange } from './bytes';
import type { StringStringEntry, TensorProto } from './messages';
import type { Source } from './source';
import { checkSize, expectedBytes } from './tensor-bytes';
import { derive } from './trace';

/** TensorProto.DataLocation.EXTERNAL */
const EXTERNAL = 1;

/** Whether a tensor's payload lies in a side file. */
export function isExternal(tensor: TensorProto): boolean {
  return tensor.dataLocation === EXTERNAL;
}

/** An entry of external_data; the last one counts. */
function entry(tensor: TensorProto, key: string): string | undefined {
  return tensor.externalData.findLast((candidate) => candidate.key === key)?.value;
}

/**
 * Location of a tensor's side file as the model spells it.
 * @throws externalDataInvalid where there is none
 */
export function locationOf(tensor: TensorProto): string {
  const location = entry(tensor, 'location');
  if (location) return location;
  throw errors.externalDataInvalid(tensor.name ?? '', 'is external but names no side file');
}

/** Key that is equal for tensors that share one payload. */
export function payloadKey(tensor: TensorProto): string {
  return JSON.stringify(['location', 'offset', 'length'].map((key) => entry(tensor, key) ?? null));
}

/**
 * Path of a tensor's side file.
 * @param directory folder of the model
 * @throws externalDataEscapes, externalDataMissing
 */
export function sidePath(tensor: TensorProto, directory: string): string {
  const name = tensor.name ?? '';
  const location = locationOf(tensor);
  const parts = location.split(/[/\\]/);
  if (path.posix.isAbsolute(location) || path.win32.isAbsolute(location) || /^[a-z]:/i.test(location)) {
    throw errors.externalDataEscapes(name, location);
  }
  if (location.includes('\0')) throw errors.externalDataInvalid(name, 'its side file has an impossible name');
  let depth = 0;
  for (const part of parts) {
    depth += part === '..' ? -1 : part === '.' || part === '' ? 0 : 1;
    if (depth < 0) throw errors.externalDataEscapes(name, location);
  }
  const side = path.join(directory, location);
  if (!fs.existsSync(side)) throw errors.externalDataMissing(name, side);
  const inside = path.relative(fs.realpathSync(directory), fs.realpathSync(side));
  if (inside.split(path.sep)[0] === '..' || path.isAbsolute(inside)) {
    throw errors.externalDataEscapes(name, location);
  }
  return side;
}

/**
 * The bytes of an external tensor.
 * @throws externalDataInvalid, externalDataRange, tensorInvalid
 */
export function externalBytes(tensor: TensorProto, side: Source): ByteRange {
  const name = tensor.name ?? '';
  const size = expectedBytes(tensor);
  const offset = parseNumber(tensor, 'offset') ?? 0;
  // Like ONNX Runtime: a length of 0 is none given.
  const length = parseNumber(tensor, 'length') || size;
  const end = offset + length;
  if (end > side.length) throw errors.externalDataRange(name, side.name, end, side.length);
  return checkSize(tensor, side.range(offset, length), size);
}

function parseNumber(tensor: TensorProto, key: string): number | undefined {
  const text = entry(tensor, key);
  if (text === undefined) return undefined;
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw errors.externalDataInvalid(tensor.name ?? '', `has '${text}' as the ${key} of its external data`);
}

/** The tensor with its payload at a place in a side file; every other field as it was. */
export function moveOutside(
  tensor: TensorProto,
  location: string,
  offset: number,
  length: number,
): TensorProto {
  const place: StringStringEntry[] = [
    { key: 'location', value: location },
    { key: 'offset', value: String(offset) },
    { key: 'length', value: String(length) },
  ];
  const replaced = [...place.map(({ key }) => key), 'checksum'];
  const others = tensor.externalData.filter(({ key }) => !replaced.includes(key));
  return derive(tensor, { ...WITHOUT_PAYLOAD, externalData: [...place, ...others], dataLocation: EXTERNAL });
}

/** The tensor with its payload in the model file. */
export function moveInside(tensor: TensorProto, bytes: ByteRange): TensorProto {
  return derive(tensor, { ...WITHOUT_PAYLOAD, rawData: bytes, externalData: [], dataLocation: undefined });
}

const WITHOUT_PAYLOAD = {
  rawData: undefined,
  floatData: undefined,
  int32Data: undefined,
  int64Data: undefined,
  doubleData: undefined,
  uint64Data: undefined,
};
