import { Worker } from 'node:worker_threads';

/** Below this size a hash is faster than a thread. */
const WORTH_A_THREAD = 32 * 2 ** 20;

const HEX_LENGTH = 64;

/** Runs in the thread: hashes a file piece by piece and leaves the digest, or the failure, in shared memory. */
const PROGRAM = `
  const { workerData: { path, shared } } = require('node:worker_threads');
  const fs = require('node:fs');
  const state = new Int32Array(shared, 0, 1);
  const text = new Uint8Array(shared, 4);
  let result = 2;
  try {
    const hash = require('node:crypto').createHash('sha256');
    const piece = Buffer.allocUnsafe(4 << 20);
    const file = fs.openSync(path, 'r');
    for (let read; (read = fs.readSync(file, piece)) > 0; ) hash.update(read === piece.length ? piece : piece.subarray(0, read));
    fs.closeSync(file);
    text.set(Buffer.from(hash.digest('hex'), 'latin1'));
    result = 1;
  } finally {
    Atomics.store(state, 0, result);
    Atomics.notify(state, 0);
  }
`;

/**
 * Begins to hash a file on another thread, so that rewriting and copying need not wait for it.
 * @returns gives the SHA-256 in hex, waiting for it where needed; undefined where the thread failed. Undefined for files
 *   that are too small to be worth it
 */
export function hashInBackground(path: string, size: number): (() => string | undefined) | undefined {
  if (size < WORTH_A_THREAD) return undefined;
  const shared = new SharedArrayBuffer(4 + HEX_LENGTH);
  const worker = new Worker(PROGRAM, { eval: true, workerData: { path, shared }, stderr: true });
  worker.unref();
  worker.on('error', () => undefined);
  const state = new Int32Array(shared, 0, 1);
  return () => {
    Atomics.wait(state, 0, 0);
    if (state[0] !== 1) return undefined;
    return Buffer.from(new Uint8Array(shared, 4)).toString('latin1');
  };
}
