/** Bytes that may lie in a file, in memory, or be computed; nothing is read before it is asked for. */
export interface ByteRange {
  /** Number of bytes. */
  readonly length: number;
  /** The bytes in order, in pieces of a few MB at most. A piece is valid until the next one is asked for. */
  chunks(): Iterable<Uint8Array>;
  /** All bytes at once. The result may be shared: do not write into it. */
  read(): Uint8Array;
}

/** Bytes in memory. */
export function memoryBytes(bytes: Uint8Array): ByteRange {
  return { length: bytes.length, chunks: () => [bytes], read: () => bytes };
}

/**
 * Bytes that are computed when they are written, such as the initial values of a new parameter.
 * @param chunks must give `length` bytes in all, the same ones each time it is called
 */
export function computedBytes(length: number, chunks: () => Iterable<Uint8Array>): ByteRange {
  return {
    length,
    chunks,
    read() {
      const all = new Uint8Array(length);
      let at = 0;
      for (const piece of chunks()) {
        all.set(piece, at);
        at += piece.length;
      }
      if (at !== length) throw new RangeError(`${length} bytes announced, ${at} given`);
      return all;
    },
  };
}

/** Several ranges, one after the other. */
export function concatBytes(pieces: Iterable<ByteRange>): ByteRange {
  const flat: ByteRange[] = [];
  for (const piece of pieces) {
    if (piece instanceof Concatenation) for (const inner of piece.pieces) flat.push(inner);
    else flat.push(piece);
  }
  const [only, ...others] = flat;
  return only !== undefined && others.length === 0 ? only : new Concatenation(flat);
}

class Concatenation implements ByteRange {
  readonly length: number;
  constructor(readonly pieces: readonly ByteRange[]) {
    this.length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  }
  *chunks(): Iterable<Uint8Array> {
    for (const piece of this.pieces) yield* piece.chunks();
  }
  read(): Uint8Array {
    return computedBytes(this.length, () => this.chunks()).read();
  }
}
