/** The command line as a user runs it: the built program in a process of its own. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { temporaryFolder } from '../support/fixtures';

/** Built by `npm test` before the tests run; with `npx jest` alone, run `npm run build` first. */
export const MAIN = path.join(__dirname, '../../dist/src/cli/main.js');
export const LLAMA = path.join(__dirname, '../../fixtures/llama.onnx');

export interface Run {
  readonly code: number | null;
  readonly output: Buffer;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `diffx` in a folder. */
export function diffx(args: readonly string[], cwd: string, environment: NodeJS.ProcessEnv = {}): Run {
  const run = spawnSync(process.execPath, [MAIN, ...args], {
    cwd,
    env: { ...process.env, ...environment },
    maxBuffer: 1 << 28,
  });
  if (run.error) throw run.error;
  return {
    code: run.status,
    output: run.stdout,
    stdout: run.stdout.toString('utf8'),
    stderr: run.stderr.toString('utf8'),
  };
}

/** The JSON document that a run printed: all of its standard output. */
export function documentOf({ stdout }: Run): Record<string, unknown> {
  return JSON.parse(stdout);
}

/** A new folder with `model.onnx` in it: the Llama, another model, or (null) none. */
export function workFolder(model: string | Uint8Array | null = LLAMA): string {
  const folder = fs.mkdtempSync(path.join(temporaryFolder(), 'cli-'));
  const file = path.join(folder, 'model.onnx');
  if (typeof model === 'string') fs.copyFileSync(model, file);
  else if (model) fs.writeFileSync(file, model);
  return folder;
}

/** Names of everything in a folder, hidden files included. */
export function filesIn(folder: string): string[] {
  return fs.readdirSync(folder).sort();
}

export interface Failure {
  readonly exit: number;
  /** What the line of the error says. */
  readonly says: RegExp;
}

/** One line of what and where, one of how to fix it, nothing else, and no file that was not there before. */
export function expectFailure(
  run: Run,
  { exit, says }: Failure,
  folder: string,
  files: readonly string[],
): void {
  const [error = '', hint = '', ...more] = run.stderr.split('\n');
  expect(error).toMatch(/^error: \S/);
  expect(error).toMatch(says);
  expect(hint).toMatch(/^hint: \S/);
  expect(more).toEqual(['']);
  expect(run.stdout).toBe('');
  expect(run.code).toBe(exit);
  expect(filesIn(folder)).toEqual(files);
}
