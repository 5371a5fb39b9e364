/** Folders: what is in them, and those for temporary files. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { errors } from '../errors';
import { reading, reasonOf } from './file-errors';

/** @throws unreadable */
export function isFolder(name: string): boolean {
  return reading(name, () => fs.statSync(name, { throwIfNoEntry: false })?.isDirectory() ?? false);
}

/**
 * The names in a folder, sorted.
 * @throws fileNotFound, unreadable
 */
export function namesIn(folder: string): string[] {
  return reading(folder, () => fs.readdirSync(folder)).sort();
}

/**
 * Makes a folder for temporary files; whoever made it takes it away.
 * @throws noTemporaryFolder
 */
export function temporaryFolder(prefix: string): string {
  try {
    return fs.mkdtempSync(path.join(tmpdir(), prefix));
  } catch (error) {
    throw errors.noTemporaryFolder(tmpdir(), reasonOf(error));
  }
}
