/** Measures many exports on several threads; the results come in the order of the exports. */
import { once } from 'node:events';
import * as path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { ExportResult, ModeResult } from './result';
import type { Source } from './sources';
import type { Answer } from './worker';

export async function measureAll(
  sources: readonly Source[],
  jobs: number,
  onResult: (result: ExportResult) => void,
): Promise<ExportResult[]> {
  const results: ExportResult[] = [];
  let next = 0;
  const thread = async () => {
    const worker = new Worker(path.join(__dirname, 'worker.js'));
    try {
      for (let at = next++; at < sources.length; at = next++) {
        const source = sources[at] as Source;
        const answer = await ask(worker, source);
        const result = 'result' in answer ? answer.result : failed(source, answer.error);
        results[at] = result;
        onResult(result);
      }
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: Math.min(jobs, sources.length) }, thread));
  return results;
}

async function ask(worker: Worker, source: Source): Promise<Answer> {
  worker.postMessage(source);
  const [answer] = await once(worker, 'message');
  return answer;
}

function failed({ name }: Source, detail: string): ExportResult {
  const broken: ModeResult = { outcome: 'broken', rewritten: 0, detail };
  return {
    name,
    candidates: 0,
    found: 0,
    modes: { zero: broken, preserve: broken, split: broken },
    references: [],
  };
}
