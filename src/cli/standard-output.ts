import { writeSync } from 'node:fs';
import { errors } from '../errors';
import type { ByteRange } from '../onnx';
import { reasonOf } from '../onnx/file-errors';

/** Milliseconds to wait for a pipe that is full. */
const PATIENCE = 5;

/**
 * Writes bytes to standard output and waits until they are out. A reader that goes away (`| head`) ends it quietly.
 * @throws unwritable
 */
export function writeToStandardOutput(bytes: ByteRange): void {
  for (const chunk of bytes.chunks()) {
    for (let done = 0; done < chunk.length; ) {
      const written = writeSome(chunk, done);
      if (written === undefined) return;
      done += written;
    }
  }
}

/** Number of bytes written; undefined where nobody reads any more. */
function writeSome(chunk: Uint8Array, from: number): number | undefined {
  try {
    return writeSync(1, chunk, from, chunk.length - from);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EPIPE') return undefined;
    if (code !== 'EAGAIN') throw errors.unwritable('standard output', reasonOf(error));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PATIENCE);
    return 0;
  }
}
