/** Folders: what is in them, and those for temporary files. */
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { errors } from '../errors';
import { reading, reasonOf } from './file-errors';
import { temporaryPrefix } from './owner';
import { tidyTemporaryFolder } from './tidy';
import { uninterrupted } from './uninterrupted';

/** @throws unreadable */
export function isFolder(name: string): boolean {
  return reading(name, () => statSync(name, { throwIfNoEntry: false })?.isDirectory() ?? false);
}

/**
 * The names in a folder, sorted.
 * @throws fileNotFound, unreadable
 */
export function namesIn(folder: string): string[] {
  return reading(folder, () => readdirSync(folder)).sort();
}

/**
 * Removes folders that were made, from the inmost to the first one, as far as they are empty: somebody else may have put
 * something there meanwhile.
 */
export function removeFolders(inmost: string, first: string): void {
  const end = path.resolve(first);
  for (let folder = path.resolve(inmost); ; folder = path.dirname(folder)) {
    try {
      rmdirSync(folder);
    } catch {
      return;
    }
    if (folder === end || folder === path.dirname(folder)) return;
  }
}

/**
 * Makes a folder with those around it. One after the other: Node's own way does not end where the file system says that
 * a folder is not there whose parent is, as under /proc.
 * @returns the first folder that had to be made; undefined where all were there
 */
export function makeFolders(folder: string): string | undefined {
  const missing: string[] = [];
  for (let at = path.resolve(folder); !statSync(at, { throwIfNoEntry: false }); at = path.dirname(at)) {
    missing.push(at);
    if (at === path.dirname(at)) break;
  }
  let first: string | undefined;
  for (const each of missing.reverse()) {
    try {
      mkdirSync(each);
      first ??= each;
    } catch (error) {
      // Somebody else may have made it meanwhile.
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue;
      if (first !== undefined) removeFolders(path.dirname(each), first);
      throw error;
    }
  }
  return first;
}

/**
 * Makes a folder for temporary files; whoever made it takes it away. Those of runs that were killed are removed.
 * @param purpose a word in small letters, for its name
 * @throws noTemporaryFolder
 */
export function temporaryFolder(purpose: string): string {
  tidyTemporaryFolder();
  try {
    return uninterrupted(() => mkdtempSync(path.join(tmpdir(), temporaryPrefix(purpose))));
  } catch (error) {
    throw errors.noTemporaryFolder(tmpdir(), reasonOf(error));
  }
}
