/** Runs programs and measures them. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';

export interface Measurement {
  /** Wall time, from start to exit, in seconds. */
  readonly seconds: number;
  /** Greatest resident memory in bytes; undefined for programs that are not Node. */
  readonly peak: number | undefined;
}

/** @throws Error with what the program said, where it does not exit with 0 */
export function measure(command: string, args: readonly string[], peakFile?: string): Measurement {
  const environment = peakFile === undefined ? {} : { DIFFX_BENCH_PEAK: peakFile };
  const start = process.hrtime.bigint();
  const run = spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, ...environment } });
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (run.error !== undefined || run.status !== 0) {
    const reason = run.error?.message ?? `exit code ${run.status ?? run.signal}`;
    throw new Error(`${command} ${args.join(' ')}: ${reason}\n${run.stdout ?? ''}${run.stderr ?? ''}`);
  }
  const peak = peakFile === undefined ? undefined : Number(fs.readFileSync(peakFile, 'utf8'));
  return { seconds, peak };
}

/** A Node program, with its peak memory. */
export function measureNode(script: string, args: readonly string[], folder: string): Measurement {
  const peakFile = path.join(folder, 'peak');
  fs.rmSync(peakFile, { force: true });
  return measure(process.execPath, ['--require', path.join(__dirname, 'peak.js'), script, ...args], peakFile);
}

/** `cp`, made to copy bytes where a file system would only share them. */
export function measureCopy(from: string, to: string): Measurement {
  const whole = process.platform === 'linux' ? ['--reflink=never'] : [];
  return measure('cp', [...whole, from, to]);
}

/** Reads a file once, so that what follows finds it in the page cache. */
export function warm(file: string): void {
  const buffer = Buffer.alloc(1 << 20);
  const handle = fs.openSync(file, 'r');
  while (fs.readSync(handle, buffer) > 0) {
    // only read
  }
  fs.closeSync(handle);
}

/** Waits until what was written is on the disk, so that it does not slow down the next measurement. */
export function settle(): void {
  if (process.platform !== 'win32') {
    spawnSync('sync');
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
