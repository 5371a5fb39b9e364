/** Folders: what is in them, and those for temporary files. */
import { mkdtempSync, readdirSync, statSync } from 'node:fs';
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
