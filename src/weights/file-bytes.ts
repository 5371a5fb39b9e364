/** A stretch of a file as a `ByteRange`: nothing is read, and no file is held open, until its bytes are asked for. */
import { closeSync, openSync, readSync } from 'node:fs';
import { errors } from '../errors';
import type { ByteRange } from '../onnx/bytes';

/** Bytes per piece. */
const PIECE = 4 << 20;

/**
 * Bytes `offset` to `offset + length` of a file.
 * @throws DiffxError file-not-found, unreadable or truncated, from `chunks` and `read`
 */
export function fileBytes(path: string, offset: number, length: number): ByteRange {
  return {
    length,
    *chunks() {
      const buffer = new Uint8Array(Math.min(PIECE, length));
      const file = openForReading(path);
      try {
        for (let done = 0; done < length; done += buffer.length) {
          const piece = buffer.subarray(0, Math.min(buffer.length, length - done));
          readFully(file, path, piece, offset + done);
          yield piece;
        }
      } finally {
        closeSync(file);
      }
    },
    read() {
      const all = new Uint8Array(length);
      const file = openForReading(path);
      try {
        readFully(file, path, all, offset);
      } finally {
        closeSync(file);
      }
      return all;
    },
  };
}

/** @throws DiffxError file-not-found or unreadable */
export function openForReading(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw code === 'ENOENT' ? errors.fileNotFound(path) : errors.unreadable(path, code ?? message);
  }
}

/** Fills `target` from a position of an open file; one call of the system reads at most 2 GiB. */
export function readFully(file: number, path: string, target: Uint8Array, position: number): void {
  for (let done = 0; done < target.length; ) {
    const wanted = Math.min(target.length - done, 1 << 30);
    const read = readSync(file, target, done, wanted, position + done);
    if (read === 0) throw errors.truncated(path, position + target.length, position + done);
    done += read;
  }
}
