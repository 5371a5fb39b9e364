/** Files that appear complete or not at all, several together. */
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { errors } from '../errors';
import type { ByteRange } from './bytes';
import { writing } from './file-errors';

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
 * Writes files under temporary names beside their targets and renames them when all are complete. If anything fails
 * the targets are as they were and nothing is left behind. A target may be one of the files that are read. Devices and
 * pipes, where there is nothing to rename, are written to when the files are there.
 * @param outputs in the order in which they shall appear
 * @throws exists unless `force`, sameTarget, unwritable
 */
export function writeFiles(outputs: readonly (Output | StagedOutput)[], force: boolean): void {
  checkTargets(
    outputs.map((output) => output.path),
    force,
  );
  const streams: Output[] = [];
  const steps: Step[] = [];
  try {
    for (const output of outputs) {
      if ('bytes' in output && isStream(output.path)) streams.push(output);
      else steps.push(prepare(output));
    }
    for (const step of steps) publish(step, step === steps.at(-1) && streams.length === 0);
    for (const stream of streams) writeTo(stream.path, 'w', stream);
  } catch (error) {
    for (const step of steps.reverse()) undo(step);
    throw error;
  }
  for (const step of steps) fs.rmSync(step.previous, { force: true });
}

/** Whether a path leads to a device or a pipe, such as /dev/stdout. */
export function isStream(target: string): boolean {
  const stat = writing(target, () => fs.statSync(target, { throwIfNoEntry: false }));
  if (stat === undefined || stat.isDirectory()) return false;
  // /dev/stdout may lead to a file; it is a link all the same that must not be replaced.
  return !stat.isFile() || /^\/(dev\/[^/]+|dev\/fd\/.*|proc\/.*)$/.test(path.resolve(target));
}

/**
 * Checks targets before the work begins whose result they shall hold.
 * @param option of the command line that chooses them, for the message
 * @throws exists unless `force`, sameTarget, unwritable
 */
export function checkTargets(targets: readonly string[], force: boolean, option?: string): void {
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
  /** Where the file that was there before waits until all is done. */
  readonly previous: string;
  /** The first folder that had to be made for it. */
  readonly folder: string | undefined;
  published: boolean;
}

function prepare(output: Output | StagedOutput): Step {
  const target = output.path;
  const parent = path.dirname(target);
  const temporary = path.join(parent, `.diffx-${process.pid}-${randomBytes(4).toString('hex')}`);
  const step = { target, previous: `${temporary}.old`, published: false };
  if ('staged' in output) return { ...step, temporary: output.staged, folder: undefined };
  const make = () => fs.mkdirSync(parent, { recursive: true });
  return written(
    { ...step, temporary, folder: output.makeFolder ? writing(target, make) : undefined },
    output,
  );
}

function written(step: Step, output: Output): Step {
  try {
    writeTo(step.temporary, 'wx', output);
  } catch (error) {
    undo(step);
    throw error;
  }
  return step;
}

/** @param last nothing can fail after it, so the file that was there before need not wait */
function publish(step: Step, last: boolean): void {
  writing(step.target, () => {
    // A second name for the old file: the target is never missing.
    if (!last && fs.existsSync(step.target)) linkOrCopy(step.target, step.previous);
    fs.renameSync(step.temporary, step.target);
    step.published = true;
  });
}

function undo(step: Step): void {
  const { target, temporary, previous, folder, published } = step;
  fs.rmSync(temporary, { force: true });
  if (published && fs.existsSync(previous)) fs.renameSync(previous, target);
  else if (published) fs.rmSync(target, { force: true });
  fs.rmSync(previous, { force: true });
  if (folder !== undefined) fs.rmSync(folder, { recursive: true, force: true });
}

function linkOrCopy(from: string, to: string): void {
  try {
    fs.linkSync(from, to);
  } catch {
    fs.copyFileSync(from, to);
  }
}

const GATHERED = 1 << 20;

/** Writes bytes; short pieces are gathered first. */
function writeTo(file: string, flags: string, { path: target, bytes }: Output): void {
  const descriptor = writing(target, () => fs.openSync(file, flags));
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
