/** Where bytes come from: memory, or a file that is read piece by piece. Offsets may lie beyond 2 GiB. */
import * as fs from 'node:fs';
import { errors } from '../errors';
import type { ByteRange } from './bytes';
import { reading } from './file-errors';
import { settleFor } from './tidy';

/** Random access to bytes. */
export interface Source {
  /** Path of the file, or a name for error messages. */
  readonly name: string;
  readonly length: number;
  /** Bytes from `offset` on: at least `count`, which must be there, or more where that costs nothing. May be shared. */
  view(offset: number, count: number): Uint8Array;
  /** A range to be read later. */
  range(offset: number, length: number): ByteRange;
}

/** Bytes in memory as a source. */
export function memorySource(bytes: Uint8Array, name: string): Source {
  return new MemorySource(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), name);
}

class MemorySource implements Source {
  readonly length: number;
  constructor(
    readonly bytes: Buffer,
    readonly name: string,
  ) {
    this.length = bytes.length;
  }
  view(offset: number): Uint8Array {
    return this.bytes.subarray(offset);
  }
  range(offset: number, length: number): ByteRange {
    return new MemoryRange(this, offset, length);
  }
}

/** A class and not `memoryBytes`: there is one for every message of a model. */
class MemoryRange implements ByteRange {
  constructor(
    private readonly source: MemorySource,
    private readonly offset: number,
    readonly length: number,
  ) {}
  chunks(): Iterable<Uint8Array> {
    return [this.read()];
  }
  read(): Uint8Array {
    return this.source.bytes.subarray(this.offset, this.offset + this.length);
  }
}

/** Files up to this size are read at once. */
const SMALL_FILE = 1 << 20;

/**
 * Opens a file for reading. Where a run that was killed was about to replace it and others, that is finished first.
 * @param options.inMemoryUpTo files up to this many bytes are read at once; default 1 MiB
 * @throws fileNotFound, notAFile, unreadable, unfinished
 */
export function openSource(path: string, options: { inMemoryUpTo?: number } = {}): Source {
  settleFor(path);
  return reading(path, () => openFile(path, options.inMemoryUpTo ?? SMALL_FILE));
}

function openFile(path: string, inMemoryUpTo: number): Source {
  // Not opened before it is known to be a regular file: opening a pipe would wait for a writer.
  const found = fs.statSync(path);
  if (found.isDirectory()) throw errors.notAFile(path);
  if (!found.isFile()) throw errors.unreadable(path, 'neither a file nor a link to one');
  const descriptor = fs.openSync(path, 'r');
  const stat = fs.fstatSync(descriptor);
  const source = new FileSource(path, stat, descriptor);
  if (stat.size > inMemoryUpTo) {
    descriptors.register(source, descriptor);
    return source;
  }
  try {
    return memorySource(source.range(0, stat.size).read(), path);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** Closes files that nobody can read any more. Until then they stay open, so that a file may be replaced meanwhile. */
const descriptors = new FinalizationRegistry<number>((descriptor) => fs.closeSync(descriptor));

const CHUNK = 1 << 20;
const WINDOW = 1 << 14;

class FileSource implements Source {
  readonly length: number;
  /** The last few bytes that were read, for the many small ranges of a model's nodes. */
  private window: Uint8Array = new Uint8Array(0);
  private windowAt = 0;

  constructor(
    readonly name: string,
    private readonly stat: fs.Stats,
    private readonly descriptor: number,
  ) {
    this.length = stat.size;
  }

  view(offset: number, count: number): Uint8Array {
    const from = offset - this.windowAt;
    if (from < 0 || from + count > this.window.length) {
      const window = Buffer.alloc(Math.min(Math.max(count, WINDOW), this.length - offset));
      this.readInto(window, offset);
      this.windowAt = offset;
      this.window = window;
      return window;
    }
    return this.window.subarray(from);
  }

  range(offset: number, length: number): ByteRange {
    return new FileRange(this, offset, length);
  }

  /** Fills the buffer with the bytes from `offset` on. */
  readInto(buffer: Uint8Array, offset: number): void {
    reading(this.name, () => {
      for (let done = 0; done < buffer.length; ) {
        const count = Math.min(buffer.length - done, CHUNK);
        const got = fs.readSync(this.descriptor, buffer, done, count, offset + done);
        if (got === 0) throw errors.truncated(this.name, offset + buffer.length, offset + done);
        done += got;
      }
      const now = fs.fstatSync(this.descriptor);
      if (now.mtimeMs !== this.stat.mtimeMs || now.size !== this.length) throw errors.fileChanged(this.name);
    });
  }
}

/** A buffer that no iteration is using: fresh memory for each tensor costs more than reading it. */
let spare: Buffer | undefined;

class FileRange implements ByteRange {
  constructor(
    private readonly source: FileSource,
    private readonly offset: number,
    readonly length: number,
  ) {}

  *chunks(): Iterable<Uint8Array> {
    if (this.length <= WINDOW) {
      yield this.source.view(this.offset, this.length).subarray(0, this.length);
      return;
    }
    const buffer = spare ?? Buffer.allocUnsafeSlow(CHUNK);
    spare = undefined;
    try {
      for (let done = 0; done < this.length; done += buffer.length) {
        const piece = buffer.subarray(0, Math.min(buffer.length, this.length - done));
        this.source.readInto(piece, this.offset + done);
        yield piece;
      }
    } finally {
      spare = buffer;
    }
  }

  read(): Uint8Array {
    const bytes = Buffer.alloc(this.length);
    this.source.readInto(bytes, this.offset);
    return bytes;
  }
}
