/** Measures, or proves on a provider, on a thread of its own, the exports that it is sent. */
import { parentPort } from 'node:worker_threads';
import { measure } from './measure';
import { type ProofSettings, prove } from './proof';
import type { Source } from './sources';

export interface Task {
  readonly source: Source;
  /** Where given, what `diffx verify` says of its rewrites there; else what becomes of it. */
  readonly proof?: ProofSettings;
}

/** The result, or the error that no export should cause. */
export type Answer = { readonly result: unknown } | { readonly error: string };

parentPort?.on('message', ({ source, proof }: Task) => {
  const work: Promise<unknown> = proof ? prove(source, proof) : measure(source);
  work.then(
    (result) => parentPort?.postMessage({ result } satisfies Answer),
    (error: unknown) =>
      parentPort?.postMessage({
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      } satisfies Answer),
  );
});
