/**
 * A thread that ends its process where a phase takes too much: of processor time, so that a busy machine raises no alarm,
 * and of memory.
 */
import { Worker } from 'node:worker_threads';
import type { Phase } from './oracle';

/** Seconds of processor time, and megabytes above what there was when the phase began. */
export const LIMITS = { seconds: 5, megabytes: 500 } as const;

/** ONNX Runtime may take longer: that is not diffx's. */
const RUNTIME_SECONDS = 20;

/** How the process ends, by what it took too much of. */
export const SIGNALS = { time: 'SIGXCPU', memory: 'SIGUSR2' } as const;

const THREAD = `
const { workerData } = require('node:worker_threads');
const { shared, limits, runtime, signals } = workerData;
const state = new Float64Array(shared);
setInterval(() => {
  const [phase, cpu, rss] = state;
  if (phase === 0) return;
  const { user, system } = process.cpuUsage();
  const seconds = (user + system) / 1e6 - cpu;
  const megabytes = process.memoryUsage.rss() / 1e6 - rss;
  if (state[0] !== phase || state[1] !== cpu) return;
  if (seconds > (phase === 1 ? limits.seconds : runtime)) process.kill(process.pid, signals.time);
  else if (phase === 1 && megabytes > limits.megabytes) process.kill(process.pid, signals.memory);
}, 50);
`;

/** Starts the thread; what it gives is told of each phase. */
export function watch(): (phase: Phase) => void {
  const shared = new SharedArrayBuffer(3 * Float64Array.BYTES_PER_ELEMENT);
  const state = new Float64Array(shared);
  const workerData = { shared, limits: LIMITS, runtime: RUNTIME_SECONDS, signals: SIGNALS };
  new Worker(THREAD, { eval: true, workerData }).unref();
  return (phase) => {
    const { user, system } = process.cpuUsage();
    state[0] = 0;
    state[1] = (user + system) / 1e6;
    state[2] = process.memoryUsage.rss() / 1e6;
    state[0] = phase === 'idle' ? 0 : phase === 'diffx' ? 1 : 2;
  };
}
