/** The process that makes mutants and judges them: it may end, by ONNX Runtime or by its watch, and is started again. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { type Facts, factsOf } from './draft';
import { type Kind, mutant } from './mutate';
import { judge, type Phase } from './oracle';
import { type Answer, MADE, MUTANT, PHASE, type Task } from './task';
import { watch } from './watch';

const known = new Map<string, Facts>();
const onPhase = watch();

function made(task: Task): { file: string; kind?: Kind; mutations?: readonly string[] } {
  if ('file' in task) return { file: task.file };
  const { base, other, seed, turn, only, folder } = task;
  const bytes = new Uint8Array(fs.readFileSync(base));
  const facts = () => {
    const all = known.get(base) ?? factsOf(bytes);
    known.set(base, all);
    return all;
  };
  const result = mutant(seed, turn, { bytes, facts, other: new Uint8Array(fs.readFileSync(other)) }, only);
  const file = path.join(folder, MUTANT);
  fs.writeFileSync(file, result.bytes);
  fs.writeFileSync(
    path.join(folder, MADE),
    JSON.stringify({ kind: result.kind, mutations: result.mutations }),
  );
  return { file, kind: result.kind, mutations: result.mutations };
}

async function answer(task: Task): Promise<Answer> {
  const note = (phase: Phase) => {
    fs.writeFileSync(path.join(task.folder, PHASE), phase);
    onPhase(phase);
  };
  note('idle');
  const { file, ...how } = made(task);
  try {
    return { ...how, verdict: await judge(file, task.turn, note) };
  } finally {
    note('idle');
  }
}

if (process.send) {
  process.on('message', (task: Task) => {
    answer(task).then(
      (result) => process.send?.(result),
      (error: unknown) => {
        // A fault of the fuzzer itself.
        console.error(error);
        process.exit(3);
      },
    );
  });
  process.on('disconnect', () => process.exit(0));
}
