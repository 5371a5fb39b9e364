/**
 * Parcels on a stream: a message as JSON and blocks of bytes behind it. Bytes are never serialised, and are copied once,
 * into memory of their own: typed arrays can look at it as it is.
 */
import type { Parcel } from './protocol';

/** 4 bytes with the length of the header. */
const PREFIX = 4;

interface Header {
  readonly message: unknown;
  /** Lengths of the blocks. */
  readonly sizes: readonly number[];
}

/** What to write, in this order. */
export function pack({ message, payloads }: Parcel<unknown>): Uint8Array[] {
  const header: Header = { message, sizes: payloads.map(({ length }) => length) };
  const text = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(PREFIX);
  prefix.writeUInt32LE(text.length);
  return [Buffer.concat([prefix, text]), ...payloads.filter(({ length }) => length > 0)];
}

/** Puts parcels together from pieces as they arrive. */
export class Unpacker<T> {
  #block = new Uint8Array(PREFIX);
  #filled = 0;
  #prefix = true;
  #header: Header | undefined;
  #payloads: Uint8Array[] = [];

  constructor(private readonly deliver: (parcel: Parcel<T>) => void) {}

  add(piece: Uint8Array): void {
    for (let done = 0; done < piece.length; ) {
      const part = piece.subarray(done, done + this.#block.length - this.#filled);
      this.#block.set(part, this.#filled);
      this.#filled += part.length;
      done += part.length;
      while (this.#filled === this.#block.length) this.#complete();
    }
  }

  /** The block that is being filled is full. */
  #complete(): void {
    const block = this.#block;
    if (this.#header) {
      this.#payloads.push(block);
    } else if (this.#prefix) {
      this.#prefix = false;
      this.#expect(Buffer.from(block.buffer).readUInt32LE());
      return;
    } else {
      this.#header = JSON.parse(Buffer.from(block.buffer).toString()) as Header;
    }
    const { message, sizes } = this.#header;
    const size = sizes[this.#payloads.length];
    if (size === undefined) this.#deliver(message as T);
    else this.#expect(size);
  }

  #deliver(message: T): void {
    const parcel = { message, payloads: this.#payloads };
    this.#header = undefined;
    this.#payloads = [];
    this.#prefix = true;
    this.#expect(PREFIX);
    this.deliver(parcel);
  }

  #expect(size: number): void {
    this.#block = new Uint8Array(new ArrayBuffer(size));
    this.#filled = 0;
  }
}
