import { writeSync } from 'node:fs';
import { errors } from '../errors';
import type { ByteRange } from '../onnx';
import { reasonOf } from '../onnx/file-errors';

/** Milliseconds to wait for a pipe that is full. */
const PATIENCE = 5;

/**
 * Writes bytes to standard output and waits until they are out. A reader that goes away before it has all of a model
 * (`| head -c 100`) has none.
 * @throws unwritable
 */
export function writeToStandardOutput(bytes: ByteRange): void {
  for (const chunk of bytes.chunks()) {
    for (let done = 0; done < chunk.length; ) {
      done += writeSome(chunk, done);
    }
  }
}

/** Number of bytes written. */
function writeSome(chunk: Uint8Array, from: number): number {
  try {
    return writeSync(1, chunk, from, chunk.length - from);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EAGAIN') throw errors.unwritable('standard output', reasonOf(error));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PATIENCE);
    return 0;
  }
}
