/** What runs that were killed have left: begun moves are finished or taken back, temporary files removed, and nothing else. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { errors } from '../errors';
import { reasonOf } from './file-errors';
import { isJournal, Journal, journalOf, targetsOf } from './journal';
import { isOwn, ownerOf, stateOf } from './owner';

/** How long to wait for a running process that moves its files at this moment, in milliseconds. */
const PATIENCE = 1000;
const PAUSE = 5;

/**
 * Of another machine or container one cannot know whether the process runs. Moving files takes no time, so a journal is
 * left behind after a minute; all else after a week.
 */
const ELSEWHERE = { journal: 60_000, other: 7 * 24 * 3600_000 } as const;

/**
 * Finishes or takes back what was begun in a folder by a process that is gone, so that its files fit together; waits for one
 * that is there. Does nothing where there is nothing, which is nearly always.
 * @param own whether this process itself is about to end, and what it has begun counts as well
 * @returns whether all of it is done
 * @throws what the file system says
 */
function settle(folder: string, own: boolean): boolean {
  const until = Date.now() + PATIENCE;
  for (;;) {
    const begun = namesIn(folder).filter(isJournal);
    // One after the other: what is left waits for whoever moves files at this moment.
    begun.sort(
      (a, b) => Number(isLeft(path.join(folder, a), own)) - Number(isLeft(path.join(folder, b), own)),
    );
    if (begun.every((name) => isSettled(path.join(folder, name), own))) return true;
    if (Date.now() > until) return false;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE);
  }
}

/** @returns false where another process has it in hand */
function isSettled(file: string, own: boolean): boolean {
  try {
    const journal = journalOf(file);
    if (journal !== undefined) {
      if (!isLeft(journal, own)) return isOwn(ownerOf(path.basename(journal)));
      recover(journal);
    }
    if (isLeft(file, own)) fs.rmSync(file, { force: true });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

function recover(file: string): void {
  const journal = Journal.takeOver(file);
  try {
    journal.finish();
  } catch {
    journal.undo();
  }
  journal.end();
}

/**
 * The same before a file is read, which must not be one of a pair that does not fit together.
 * @throws unfinished
 */
export function settleFor(file: string): void {
  const folder = path.dirname(file);
  try {
    settle(folder, false);
  } catch (error) {
    if (isPlanned(folder, file)) throw errors.unfinished(file, reasonOf(error));
  }
}

function isPlanned(folder: string, file: string): boolean {
  return namesIn(folder)
    .filter(isJournal)
    .some((name) => {
      const journal = journalOf(path.join(folder, name));
      return journal !== undefined && targetsOf(journal).includes(path.resolve(file));
    });
}

/**
 * The same before files are written to a folder, and removes temporary files that were left in it. What cannot be removed
 * stays: it is in nobody's way.
 * @param own as of `settle`
 */
export function tidy(folder: string, own = false): void {
  try {
    if (settle(folder, own)) sweep(folder, own);
  } catch {
    // Whoever writes there will be told.
  }
}

/** Removes temporary folders of runs that were killed, from the folder for such. */
export function tidyTemporaryFolder(folder: string = tmpdir()): void {
  sweep(folder, false);
}

function sweep(folder: string, own: boolean): void {
  for (const file of namesIn(folder).map((name) => path.join(folder, name))) {
    if (isJournal(file) || !isLeft(file, own)) continue;
    try {
      fs.rmSync(file, { recursive: true, force: true, maxRetries: 3 });
    } catch {
      // It belongs to another user.
    }
  }
}

/** Whether whoever made a temporary file is gone. */
function isLeft(file: string, own: boolean): boolean {
  const owner = ownerOf(path.basename(file));
  if (!owner) return false;
  if (isOwn(owner)) return own;
  const state = stateOf(owner);
  if (state !== 'elsewhere') return state === 'ended';
  const changed = fs.lstatSync(file, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
  return Date.now() - changed > ELSEWHERE[isJournal(file) ? 'journal' : 'other'];
}

/** Names that may be those of temporary files. */
function namesIn(folder: string): string[] {
  try {
    return fs.readdirSync(folder).filter((name) => /^\.?diffx-/.test(name));
  } catch {
    return [];
  }
}
