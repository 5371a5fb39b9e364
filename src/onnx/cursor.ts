/** A place in a source from which protobufjs reads: its Reader on a window that moves along. */
import { Reader } from 'protobufjs';
import { errors } from '../errors';
import { type Kind, Wire } from './schema';
import type { Source } from './source';

/** More than any number on the wire takes, and enough to make loading a window worth while. */
const LONGEST_NUMBER = 10;
const WINDOW = 1 << 16;
/** Messages and groups inside one another; the limit of protobuf's own decoders. */
const DEEPEST = 100;
const NOTHING = Buffer.alloc(0);

/** Reads protobuf's wire format from a source, and keeps a window of it in memory. */
export class Cursor {
  private reader: Reader = Reader.create(NOTHING);
  /** Offset in the source of the window's first byte. */
  private base: number;

  constructor(
    readonly source: Source,
    start = 0,
  ) {
    this.base = start;
  }

  get position(): number {
    return this.base + this.reader.pos;
  }

  /** Goes to an offset of the source, forward or back. */
  seek(position: number): void {
    const at = position - this.base;
    if (at >= 0 && at <= this.reader.len) {
      this.reader.pos = at;
    } else {
      this.base = position;
      this.reader = Reader.create(NOTHING);
    }
  }

  /** Reads a tag: field number and wire type. */
  tag(): { id: number; wire: number } {
    this.load(LONGEST_NUMBER);
    const tag = this.reader.tag();
    if (tag >>> 3 === 0) throw this.malformed('a field has the number 0');
    return { id: tag >>> 3, wire: tag & 7 };
  }

  /** Reads the length of a field and checks that its bytes lie before `end`. */
  size(end: number): number {
    this.load(LONGEST_NUMBER);
    const { low, high } = this.reader.uint64();
    const size = (high >>> 0) * 2 ** 32 + (low >>> 0);
    this.within(end, size);
    return size;
  }

  /** Reads one element. Strings, bytes and messages have a size first: see `bytes`. */
  scalar(kind: Kind): number | bigint {
    this.load(LONGEST_NUMBER);
    switch (kind) {
      case 'int32':
        return this.reader.int32();
      case 'int64':
        return toBigint(this.reader.int64());
      case 'uint64':
        return toBigint(this.reader.uint64());
      case 'float':
        return this.reader.float();
      case 'double':
        return this.reader.double();
      default:
        throw new Error(`${kind} is not a number`);
    }
  }

  /** The next bytes; shared with the window, so copy what is to stay. */
  bytes(count: number): Buffer {
    this.load(count);
    const at = this.reader.pos;
    this.reader.pos += count;
    return this.reader.buf.subarray(at, at + count) as Buffer;
  }

  /** Moves on without reading. */
  advance(count: number, end: number): void {
    this.within(end, count);
    const at = this.reader.pos + count;
    if (at <= this.reader.len) {
      this.reader.pos = at;
    } else {
      this.base = this.position + count;
      this.reader = Reader.create(NOTHING);
    }
  }

  /** Moves past the value of a field that the schema does not know. */
  skip(id: number, wire: number, end: number, depth = 0): void {
    switch (wire) {
      case Wire.varint:
        this.load(LONGEST_NUMBER);
        this.reader.uint64();
        this.within(end, 0);
        break;
      case Wire.fixed64:
        this.advance(8, end);
        break;
      case Wire.bytes:
        this.advance(this.size(end), end);
        break;
      case Wire.fixed32:
        this.advance(4, end);
        break;
      case Wire.groupStart:
        this.skipGroup(id, end, depth + 1);
        break;
      default:
        throw this.malformed(`field ${id} has wire type ${wire}`);
    }
  }

  private skipGroup(id: number, end: number, depth: number): void {
    this.nest(depth);
    for (;;) {
      const inner = this.tag();
      this.within(end, 0);
      if (inner.wire !== Wire.groupEnd) this.skip(inner.id, inner.wire, end, depth);
      else if (inner.id === id) return;
      else throw this.malformed(`group ${id} ends as ${inner.id}`);
    }
  }

  /** Checks that messages do not lie in one another without end. */
  nest(depth: number): void {
    if (depth > DEEPEST) throw this.malformed(`messages lie more than ${DEEPEST} deep in one another`);
  }

  /** Checks that `count` more bytes belong to the message that ends at `end`. */
  within(end: number, count: number): void {
    const reach = this.position + count;
    if (reach > this.source.length) throw errors.truncated(this.source.name, reach, this.source.length);
    if (reach > end) throw this.malformed('a field is longer than the message that holds it');
  }

  /** The error of bytes that no encoder writes. */
  malformed(reason: string): Error {
    return errors.notAModel(this.source.name, `byte ${this.position}: ${reason}`);
  }

  /** Makes the next `count` bytes, or as many as there are, available to the reader. */
  private load(count: number): void {
    const { reader, source, position } = this;
    if (reader.len - reader.pos >= count) return;
    const wanted = Math.min(count, source.length - position);
    if (reader.len - reader.pos >= wanted) return;
    this.base = position;
    this.reader = Reader.create(
      source.view(position, Math.min(Math.max(wanted, WINDOW), source.length - position)),
    );
  }
}

function toBigint(long: { low: number; high: number; unsigned: boolean }): bigint {
  const { low, high } = long;
  if (high === 0) return BigInt(low >>> 0);
  return (BigInt(long.unsigned ? high >>> 0 : high) << 32n) | BigInt(low >>> 0);
}

/**
 * Runs a decoder and turns what protobufjs throws into the user's error.
 * @throws notAModel, truncated
 */
export function decoding<T>(source: Source, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    // protobufjs: RangeError where the bytes end, Error where they make no sense.
    if (error instanceof RangeError) throw errors.truncated(source.name, source.length + 1, source.length);
    if (error instanceof Error && error.constructor === Error)
      throw errors.notAModel(source.name, error.message);
    throw error;
  }
}
