/** Folders: what is in them, and those for temporary files. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { errors } from '../errors';
import { reading, reasonOf } from './file-errors';

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
      if (first !== undefined) rmSync(first, { recursive: true, force: true });
      throw error;
    }
  }
  return first;
}

/**
 * Makes a folder for temporary files; whoever made it takes it away.
 * @throws noTemporaryFolder
 */
export function temporaryFolder(prefix: string): string {
  try {
    return mkdtempSync(path.join(tmpdir(), prefix));
  } catch (error) {
    throw errors.noTemporaryFolder(tmpdir(), reasonOf(error));
  }
}
