/** Files that appear complete or not at all, several together. */
import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { errors } from '../errors';
import type { ByteRange } from './bytes';
import { writing } from './file-errors';
import { makeFolders, removeFolders } from './folders';
import { type Entry, inodeOf, Journal, type Plan } from './journal';
import { temporaryName } from './owner';
import { tidy } from './tidy';
import { uninterrupted, willUse } from './uninterrupted';

export interface Output {
  readonly path: string;
  readonly bytes: ByteRange;
  /** Whether to make the folder if it is missing. */
  readonly makeFolder?: boolean;
}

/** An output that has been written elsewhere on the same disk, and is moved. */
export interface StagedOutput {
  readonly path: string;
  readonly staged: string;
}

/**
 * Writes files under temporary names beside their targets and moves them when all are complete. If anything fails
 * the targets are as they were and nothing is left behind; if the process is killed between two moves, the next one that
 * reads or writes there finishes them. A target may be one of the files that are read. Of several processes that write to
 * one target without `force`, one succeeds. Devices and pipes, where there is nothing to move, are written to when the files
 * are there.
 * @param outputs in the order in which they shall appear
 * @param last is done when the files are there; where it fails, they are taken back
 * @throws exists unless `force`, sameTarget, unwritable
 */
export function writeFiles(
  outputs: readonly (Output | StagedOutput)[],
  force: boolean,
  last?: () => void,
): void {
  checkTargets(
    outputs.map((output) => output.path),
    force,
  );
  const streams: Output[] = [];
  const steps: Step[] = [];
  let journal: Journal | undefined;
  try {
    for (const output of outputs) {
      if ('bytes' in output && isStream(output.path)) streams.push(output);
      else prepare(output, steps);
    }
    uninterrupted(() => {
      journal = begin(steps, force, streams.length > 0 || last !== undefined);
      journal?.finish();
    });
    for (const stream of streams) {
      const descriptor = writing(stream.path, () => fs.openSync(stream.path, 'w'));
      writeTo(descriptor, stream);
    }
    last?.();
  } catch (error) {
    uninterrupted(() => takeBack(steps, journal));
    throw error;
  }
  uninterrupted(() => journal?.end());
}

/** Whether a path leads to a device or a pipe, such as /dev/stdout. */
export function isStream(target: string): boolean {
  const stat = writing(target, () => fs.statSync(target, { throwIfNoEntry: false }));
  if (stat === undefined || stat.isDirectory()) return false;
  // /dev/stdout may lead to a file; it is a link all the same that must not be replaced.
  return !stat.isFile() || /^\/(dev\/[^/]+|dev\/fd\/.*|proc\/.*)$/.test(path.resolve(target));
}

/**
 * Checks targets before the work begins whose result they shall hold. What a run that was killed has left beside them is
 * finished or removed first.
 * @param option of the command line that chooses them, for the message
 * @throws exists unless `force`, sameTarget, unwritable
 */
export function checkTargets(targets: readonly string[], force: boolean, option?: string): void {
  for (const folder of new Set(targets.map((target) => path.dirname(target)))) tidy(folder);
  for (const target of targets) checkTarget(target, force, option);
  const files = targets.filter((target) => !isStream(target)).map((target) => path.resolve(target));
  const twice = files.find((file, index) => files.indexOf(file) !== index);
  if (twice !== undefined) throw errors.sameTarget(twice);
}

function checkTarget(target: string, force: boolean, option: string | undefined): void {
  writing(target, () => {
    if (fs.statSync(target, { throwIfNoEntry: false })?.isDirectory()) {
      throw errors.unwritable(target, 'it is a folder');
    }
    if (isStream(target)) return;
    const taken = fs.lstatSync(target, { throwIfNoEntry: false }) !== undefined;
    if (taken && !force) throw errors.exists(target, option);
  });
}

/** One file on its way. */
interface Step {
  readonly target: string;
  /** Where the new file waits until all are complete. */
  readonly temporary: string;
  /** The first folder that had to be made for it. */
  readonly folder: string | undefined;
}

/** @param steps gets what was begun, also where it fails */
function prepare(output: Output | StagedOutput, steps: Step[]): void {
  const target = output.path;
  const parent = path.dirname(target);
  willUse(parent);
  if ('staged' in output) {
    steps.push({ target, temporary: output.staged, folder: undefined });
    return;
  }
  const temporary = path.join(parent, temporaryName());
  const descriptor = uninterrupted(() =>
    writing(target, () => {
      const folder = output.makeFolder ? makeFolders(parent) : undefined;
      steps.push({ target, temporary, folder });
      return fs.openSync(temporary, 'wx');
    }),
  );
  writeTo(descriptor, output);
}

/** @param goesOn whether something can fail when all files are in their places */
function begin(steps: readonly Step[], force: boolean, goesOn: boolean): Journal | undefined {
  const [model] = steps.slice(-1);
  if (!model) return undefined;
  const folder = path.dirname(model.target);
  const from = (file: string) => path.relative(folder, file);
  const entries = steps.map((step): Entry => {
    const { target, temporary } = step;
    const entry = { target: from(target), temporary: from(temporary), inode: inodeOf(temporary) ?? '' };
    // Nothing can fail after the last one, so the file that was there before need not wait.
    if (!force || (step === model && !goesOn)) return entry;
    const previous = path.join(path.dirname(target), `${temporaryName()}.old`);
    return writing(target, () => linkOrCopy(target, previous))
      ? { ...entry, previous: from(previous) }
      : entry;
  });
  return beginAlone(folder, { id: randomUUID(), force, entries });
}

/** How long to wait for others that move files in the same folder, and how long at most between two attempts. */
const PATIENCE = 5000;
const PAUSE = 20;

/**
 * Begins when nobody else moves files there: two runs that overwrite one pair of files must not take turns. Whoever sees
 * another journal beside its own withdraws and tries again a little later, so of two never both go on.
 */
function beginAlone(folder: string, plan: Plan): Journal {
  for (const until = Date.now() + PATIENCE; ; ) {
    const journal = Journal.begin(folder, plan);
    if (journal.isAlone || Date.now() > until) return journal;
    journal.withdraw();
    tidy(folder);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Math.random() * PAUSE);
  }
}

function takeBack(steps: readonly Step[], journal: Journal | undefined): void {
  if (journal) {
    journal.undo();
    journal.end();
  }
  for (const { target, temporary, folder } of [...steps].reverse()) {
    fs.rmSync(temporary, { force: true });
    if (folder !== undefined) removeFolders(path.dirname(target), folder);
  }
}

/**
 * A second name for a file.
 * @returns false where there is none
 */
function linkOrCopy(from: string, to: string): boolean {
  if (fs.lstatSync(from, { throwIfNoEntry: false }) === undefined) return false;
  try {
    fs.linkSync(from, to);
  } catch {
    fs.copyFileSync(from, to);
  }
  return true;
}

const GATHERED = 1 << 20;

/** Writes bytes; short pieces are gathered first. */
function writeTo(descriptor: number, { path: target, bytes }: Output): void {
  let total = 0;
  try {
    const put = (piece: Uint8Array) => {
      for (let done = 0; done < piece.length; ) {
        done += writing(target, () => fs.writeSync(descriptor, piece, done, piece.length - done));
      }
      total += piece.length;
    };
    const gathered = Buffer.allocUnsafe(Math.min(GATHERED, bytes.length));
    let waiting = 0;
    for (const piece of bytes.chunks()) {
      if (waiting + piece.length > gathered.length) {
        put(gathered.subarray(0, waiting));
        waiting = 0;
      }
      if (piece.length > gathered.length) {
        put(piece);
      } else {
        gathered.set(piece, waiting);
        waiting += piece.length;
      }
    }
    put(gathered.subarray(0, waiting));
    if (total !== bytes.length) throw new Error(`${target}: ${bytes.length} bytes announced, ${total} given`);
  } finally {
    fs.closeSync(descriptor);
  }
}
