/** From bytes to messages, driven by the schema. Long payloads stay where they are. */

import { type ByteRange, concatBytes, memoryBytes } from './bytes';
import { Cursor, decoding } from './cursor';
import type { MessageName, Messages } from './messages';
import { type FieldSpec, type Kind, type MessageSpec, messageSpec, Wire, wireType } from './schema';
import { memorySource, type Source } from './source';
import { decodeText } from './text';
import { type PackedRun, remember } from './trace';

/** Tensor payloads longer than this are not read with the model. */
const INLINE_PAYLOAD = 4096;
/** A message that is stored in several parts is put together in memory: far more than any real one. */
const LARGEST_MERGE = 256 << 20;

/**
 * Decodes one message from memory.
 * @param name stands for the bytes in error messages
 * @throws notAModel, truncated
 */
export function decode<N extends MessageName>(type: N, bytes: Uint8Array, name: string = type): Messages[N] {
  return decodeSource(type, memorySource(bytes, name));
}

/** Decodes the message that fills a source. */
export function decodeSource<N extends MessageName>(type: N, source: Source): Messages[N] {
  const message = decoding(source, () =>
    readMessage(new Cursor(source), messageSpec(type), source.length, 0),
  );
  return message as unknown as Messages[N];
}

/** A message while it is being read. */
interface Draft {
  readonly spec: MessageSpec;
  readonly fields: Record<string, unknown>;
  /** What the schema does not know; what lies side by side is one part. */
  unknown?: Part[];
  packed?: Map<string, PackedRun>;
  /** Where the parts of each message that is not repeated lie; they are read when all of them are known. */
  parts?: Map<FieldSpec, Part[]>;
}

interface Part {
  readonly start: number;
  size: number;
}

function readMessage(cursor: Cursor, spec: MessageSpec, end: number, depth: number): object {
  cursor.nest(depth);
  const start = cursor.position;
  const draft: Draft = { spec, fields: {} };
  for (const name of spec.arrays) draft.fields[name] = [];
  while (cursor.position < end) {
    const at = cursor.position;
    const { id, wire } = cursor.tag();
    const field = spec.byId.get(id);
    if (field === undefined || !readField(cursor, draft, field, wire, end, depth)) {
      cursor.skip(id, wire, end);
      addUnknown(draft, at, cursor.position - at);
    }
    cursor.within(end, 0);
  }
  readParts(cursor, draft, end, depth + 1);
  const original = cursor.source.range(start, end - start);
  const unknown = draft.unknown?.map((part) => cursor.source.range(part.start, part.size));
  remember(draft.fields, { original, unknown, packed: draft.packed });
  return draft.fields;
}

function addUnknown(draft: Draft, start: number, size: number): void {
  draft.unknown ??= [];
  const last = draft.unknown.at(-1);
  if (last && last.start + last.size === start) last.size += size;
  else draft.unknown.push({ start, size });
}

/** Reads a field into the draft; false if it has another wire type than the schema says (so it is unknown). */
function readField(
  cursor: Cursor,
  draft: Draft,
  field: FieldSpec,
  wire: number,
  end: number,
  depth: number,
): boolean {
  const number = wireType(field.kind) !== Wire.bytes;
  if (wire === Wire.bytes && number && field.repeated) {
    readPacked(cursor, draft, field, end);
    return true;
  }
  if (wire !== wireType(field.kind)) return false;
  if (number) {
    put(draft, field, cursor.scalar(field.kind));
    return true;
  }
  const size = cursor.size(end);
  if (field.message === undefined) put(draft, field, readBytes(cursor, field.kind, size, end));
  else readChild(cursor, draft, field, field.message, size, end, depth + 1);
  return true;
}

function readBytes(cursor: Cursor, kind: Kind, size: number, end: number): string | Uint8Array | ByteRange {
  if (kind === 'string') return decodeText(cursor.bytes(size));
  if (kind === 'bytes') return new Uint8Array(cursor.bytes(size));
  if (size <= INLINE_PAYLOAD) return memoryBytes(new Uint8Array(cursor.bytes(size)));
  const payload = cursor.source.range(cursor.position, size);
  cursor.advance(size, end);
  return payload;
}

/** Reads a repeated message, or notes where a part of one lies that is not repeated. */
function readChild(
  cursor: Cursor,
  draft: Draft,
  field: FieldSpec,
  spec: MessageSpec,
  size: number,
  end: number,
  depth: number,
): void {
  if (field.repeated) {
    put(draft, field, readMessage(cursor, spec, cursor.position + size, depth));
    return;
  }
  const part = { start: cursor.position, size };
  draft.parts ??= new Map();
  const parts = draft.parts.get(field);
  if (parts) parts.push(part);
  else draft.parts.set(field, [part]);
  exclude(draft, field);
  cursor.advance(size, end);
}

/**
 * Reads the messages that are not repeated. Several parts of one are merged, as protobuf demands: all of them at once,
 * so that the time that it takes depends on how long they are and not on how many, nor on how deep they lie.
 */
function readParts(cursor: Cursor, draft: Draft, end: number, depth: number): void {
  if (draft.parts === undefined) return;
  for (const [field, parts] of draft.parts) {
    const [first, ...others] = parts;
    if (first === undefined || field.message === undefined) continue;
    if (others.length === 0) {
      cursor.seek(first.start);
      draft.fields[field.name] = readMessage(cursor, field.message, first.start + first.size, depth);
    } else {
      draft.fields[field.name] = readMerged(cursor, field, field.message, parts, depth);
    }
  }
  cursor.seek(end);
}

function readMerged(
  { source }: Cursor,
  field: FieldSpec,
  spec: MessageSpec,
  parts: readonly Part[],
  depth: number,
): object {
  const whole = concatBytes(parts.map(({ start, size }) => source.range(start, size)));
  if (whole.length > LARGEST_MERGE)
    throw new Cursor(source, parts[0]?.start).malformed(`${field.name} is stored in ${parts.length} parts`);
  const merged = new Cursor(memorySource(whole.read(), source.name));
  return readMessage(merged, spec, whole.length, depth);
}

/** Of the fields of which a message has one only, the last one counts. */
function exclude(draft: Draft, field: FieldSpec): void {
  for (const other of field.excludes) {
    delete draft.fields[other];
    for (const part of draft.parts?.keys() ?? []) if (part.name === other) draft.parts?.delete(part);
  }
}

function put(draft: Draft, field: FieldSpec, value: unknown): void {
  if (field.repeated) {
    settle(draft, field).push(value);
    return;
  }
  exclude(draft, field);
  draft.fields[field.name] = value;
}

/** The array of a repeated field, decoded if it was left packed. */
function settle(draft: Draft, field: FieldSpec): unknown[] {
  const present = (draft.fields[field.name] as unknown[] | undefined) ?? [];
  if (draft.packed?.delete(field.name) || draft.fields[field.name] === undefined) {
    Object.defineProperty(draft.fields, field.name, {
      value: present,
      writable: true,
      enumerable: true,
      configurable: true,
    });
  }
  return present;
}

function readPacked(cursor: Cursor, draft: Draft, field: FieldSpec, end: number): void {
  const size = cursor.size(end);
  const first = !draft.packed?.has(field.name) && (draft.fields[field.name] as unknown[]).length === 0;
  if (draft.spec.name === 'TensorProto' && size > INLINE_PAYLOAD && first) {
    leavePacked(draft, field, cursor.source, cursor.position, size);
    cursor.advance(size, end);
  } else {
    const values = settle(draft, field);
    for (const value of packedValues(cursor, field.kind, cursor.position + size)) values.push(value);
  }
}

/** Makes a field that is decoded when somebody looks. */
function leavePacked(draft: Draft, field: FieldSpec, source: Source, start: number, size: number): void {
  const run: PackedRun = {
    bytes: source.range(start, size),
    values: () => packedValues(new Cursor(source, start), field.kind, start + size),
  };
  let values: unknown[] | undefined;
  const get = () => {
    values ??= Array.from(run.values());
    return values;
  };
  draft.packed ??= new Map();
  draft.packed.set(field.name, run);
  Object.defineProperty(draft.fields, field.name, { get, enumerable: true, configurable: true });
}

function* packedValues(cursor: Cursor, kind: Kind, stop: number): Generator<number | bigint, void> {
  while (cursor.position < stop) {
    const value = decoding(cursor.source, () => cursor.scalar(kind));
    cursor.within(stop, 0);
    yield value;
  }
}
