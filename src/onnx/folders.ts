/** Folders: what is in them, and those for temporary files. */
import { mkdtempSync, readdirSync, rmdirSync, statSync } from 'node:fs';
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
