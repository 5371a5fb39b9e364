/** Runs tasks in a worker process, and says what became of them when it does not come back. */
import { type ChildProcess, fork } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Phase } from './oracle';
import { type Answer, MADE, PHASE, type Task } from './task';
import { found, type Verdict } from './verdict';
import { LIMITS, SIGNALS } from './watch';

/** A process is used for so many tasks, so that no memory piles up. */
const TASKS = 400;

/** Nobody waits longer for an answer, whatever the processor does. */
const LONGEST = 180_000;

export class Runner {
  #child: ChildProcess | undefined;
  #tasks = 0;
  #noise = '';

  /** @param worker what the process runs; tests put something else in its place */
  constructor(readonly worker = path.join(__dirname, 'worker.js')) {}

  async run(task: Task): Promise<Answer> {
    const child = this.#start();
    for (const file of [MADE, PHASE]) fs.rmSync(path.join(task.folder, file), { force: true });
    return new Promise((resolve) => {
      const done = (answer: Answer) => {
        clearTimeout(timer);
        child.removeAllListeners();
        resolve(answer);
      };
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        child.kill('SIGKILL');
      }, LONGEST);
      child.once('message', (answer) => done(answer as Answer));
      child.once('exit', (code, signal) => {
        this.#child = undefined;
        // Where the processor was busy elsewhere, nothing is known.
        done(late ? { verdict: { outcome: 'no answer' } } : this.#ended(task, code, signal));
      });
      child.send(task);
    });
  }

  stop(): void {
    this.#child?.removeAllListeners();
    this.#child?.kill();
    this.#child = undefined;
  }

  #start(): ChildProcess {
    if (++this.#tasks % TASKS === 0) this.stop();
    if (this.#child) return this.#child;
    const child = fork(this.worker, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    this.#noise = '';
    child.stderr?.on('data', (text) => {
      this.#noise = (this.#noise + text).slice(-2000);
    });
    this.#child = child;
    return child;
  }

  #ended(task: Task, code: number | null, signal: string | null): Answer {
    const file = path.join(task.folder, MADE);
    const how: Omit<Answer, 'verdict'> = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : {};
    const note = path.join(task.folder, PHASE);
    const phase = (fs.existsSync(note) ? fs.readFileSync(note, 'utf8') : 'idle') as Phase;
    return { ...how, verdict: verdictOf(phase, code, signal, this.#noise) };
  }
}

function verdictOf(phase: Phase, code: number | null, signal: string | null, noise: string): Verdict {
  const how = `the process ended with ${signal ?? code} ${noise.trim()}`;
  // Making the mutant, or what is no part of diffx.
  if (phase === 'idle') throw new Error(`the fuzzer itself failed: ${how}`);
  if (phase === 'original') return { outcome: 'ONNX Runtime ends, or takes too long' };
  if (phase === 'rewritten')
    return signal === SIGNALS.time ? { outcome: 'takes too long to run' } : found('ended', how, 'rewritten');
  if (signal === SIGNALS.time) return found('time', `more than ${LIMITS.seconds} s of processor time`);
  if (signal === SIGNALS.memory) return found('memory', `more than ${LIMITS.megabytes} MB`);
  return found('ended', how, /out of memory/.test(noise) ? 'memory' : 'diffx');
}
