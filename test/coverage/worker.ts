/** Measures, on a thread of its own, the exports that it is sent. */
import { parentPort } from 'node:worker_threads';
import { measure } from './measure';
import type { ExportResult } from './result';
import type { Source } from './sources';

/** The result, or the error that no export should cause. */
export type Answer = { readonly result: ExportResult } | { readonly error: string };

parentPort?.on('message', (source: Source) => {
  measure(source).then(
    (result) => parentPort?.postMessage({ result } satisfies Answer),
    (error: unknown) =>
      parentPort?.postMessage({
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      } satisfies Answer),
  );
});
