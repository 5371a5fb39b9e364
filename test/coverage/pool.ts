/** Works through many exports on several threads; the results come in the order of the exports. */
import { once } from 'node:events';
import * as path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Proof, ProofSettings, ProvenExport } from './proof';
import type { ExportResult, ModeResult } from './result';
import type { Source } from './sources';
import type { Answer, Task } from './worker';

export function measureAll(
  sources: readonly Source[],
  jobs: number,
  onResult: (result: ExportResult) => void,
): Promise<ExportResult[]> {
  const tasks = sources.map((source): Task => ({ source }));
  return workThrough(tasks, jobs, failed, onResult);
}

/** @param onResult gets each result as soon as it is there */
export function proveAll(
  sources: readonly Source[],
  proof: ProofSettings,
  jobs: number,
  onResult: (result: ProvenExport) => void,
): Promise<ProvenExport[]> {
  const broken = ({ name }: Source, detail: string): ProvenExport => {
    const each = proof.modes.map((mode): [string, Proof] => [mode, { verdict: 'broken', detail }]);
    return { name, modes: Object.fromEntries(each) };
  };
  const tasks = sources.map((source): Task => ({ source, proof }));
  return workThrough(tasks, jobs, broken, onResult);
}

async function workThrough<Result>(
  tasks: readonly Task[],
  jobs: number,
  broken: (source: Source, detail: string) => Result,
  onResult: (result: Result) => void,
): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  const thread = async () => {
    const worker = new Worker(path.join(__dirname, 'worker.js'));
    try {
      for (let at = next++; at < tasks.length; at = next++) {
        const task = tasks[at] as Task;
        const answer = await ask(worker, task);
        const result = 'result' in answer ? (answer.result as Result) : broken(task.source, answer.error);
        results[at] = result;
        onResult(result);
      }
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: Math.min(jobs, tasks.length) }, thread));
  return results;
}

async function ask(worker: Worker, task: Task): Promise<Answer> {
  worker.postMessage(task);
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
