/** From messages to bytes: original bytes where nothing changed, fields in the order of their numbers elsewhere. */
import { Writer } from 'protobufjs';
import { type ByteRange, concatBytes, memoryBytes } from './bytes';
import type { MessageName, Messages } from './messages';
import { type FieldSpec, type Kind, type MessageSpec, messageSpec, Wire, wireType } from './schema';
import { encodeText } from './text';
import { traceOf } from './trace';

/**
 * The bytes of a message: for one that was read and not replaced exactly those it was read from. Nothing is copied
 * and no payload is read before the range is.
 */
export function encode<N extends MessageName>(type: N, message: Messages[N]): ByteRange {
  return encodeMessage(messageSpec(type), message);
}

function encodeMessage(spec: MessageSpec, message: object): ByteRange {
  const trace = traceOf(message);
  if (trace?.original !== undefined) return trace.original;
  const out = new Pieces();
  const values = message as Record<string, unknown>;
  for (const field of spec.fields) {
    const packed = trace?.packed?.get(field.name);
    if (packed !== undefined) out.delimited(field.id, packed.bytes);
    else if (values[field.name] !== undefined) writeField(out, spec, field, values);
  }
  for (const unknown of trace?.unknown ?? []) out.range(unknown);
  return out.finish();
}

function writeField(out: Pieces, spec: MessageSpec, field: FieldSpec, values: Record<string, unknown>): void {
  const value = values[field.name];
  const rival = field.excludes.find((name) => values[name] !== undefined);
  if (rival !== undefined) throw new Error(`${spec.name} has both ${field.name} and ${rival}`);
  if (!field.repeated) {
    writeElement(out, field, value);
  } else if (field.packed) {
    const run = value as readonly unknown[];
    if (run.length > 0) out.delimited(field.id, packedRun(field.kind, run));
  } else {
    for (const element of value as readonly unknown[]) writeElement(out, field, element);
  }
}

function writeElement(out: Pieces, field: FieldSpec, value: unknown): void {
  switch (field.kind) {
    case 'message':
      if (field.message !== undefined) out.delimited(field.id, encodeMessage(field.message, value as object));
      return;
    case 'payload':
      out.delimited(field.id, value as ByteRange);
      return;
    case 'bytes':
      out.delimited(field.id, memoryBytes(value as Uint8Array));
      return;
    case 'string':
      out.delimited(field.id, memoryBytes(encodeText(value as string)));
      return;
    default:
      out.tag(field.id, wireType(field.kind));
      writeNumber(out.writer, field.kind, value as number | bigint);
  }
}

function packedRun(kind: Kind, values: readonly unknown[]): ByteRange {
  const writer = Writer.create();
  for (const value of values) writeNumber(writer, kind, value as number | bigint);
  return memoryBytes(writer.finish());
}

function writeNumber(writer: Writer, kind: Kind, value: number | bigint): void {
  switch (kind) {
    case 'int32':
      writer.int32(Number(value));
      return;
    case 'int64':
    case 'uint64':
      writer.uint64(toLong(BigInt(value)));
      return;
    case 'float':
      writer.float(Number(value));
      return;
    case 'double':
      writer.double(Number(value));
      return;
    default:
      throw new Error(`${kind} is not a number`);
  }
}

type Long = Exclude<Parameters<Writer['uint64']>[0], number | string>;
/** protobufjs takes a long apart by these two members. */
function toLong(value: bigint): Long {
  const bits = BigInt.asUintN(64, value);
  return { low: Number(bits & 0xffffffffn), high: Number(bits >> 32n), unsigned: true } as Long;
}

/** Short ranges are cheaper to copy than to keep. */
const COPIED = 64;

/** Bytes under construction: runs from a protobufjs Writer, and ranges that are only referred to. */
class Pieces {
  readonly writer = Writer.create();
  private readonly pieces: ByteRange[] = [];

  tag(id: number, wire: number): void {
    this.writer.uint32(id * 8 + wire);
  }

  delimited(id: number, bytes: ByteRange): void {
    this.tag(id, Wire.bytes);
    // A number, since protobufjs's uint32 ends at 4 GiB.
    this.writer.uint64(bytes.length);
    this.range(bytes);
  }

  range(bytes: ByteRange): void {
    if (bytes.length <= COPIED) {
      this.writer.raw(bytes.read());
    } else {
      this.flush();
      this.pieces.push(bytes);
    }
  }

  finish(): ByteRange {
    this.flush();
    return concatBytes(this.pieces);
  }

  private flush(): void {
    if (this.writer.pos === 0) return;
    this.pieces.push(memoryBytes(this.writer.finish()));
    this.writer.reset();
  }
}
