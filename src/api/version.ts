import { readFileSync } from 'node:fs';
import * as path from 'node:path';

/** The version of this package. */
export const version: string = findVersion(__dirname);

function findVersion(folder: string): string {
  const file = path.join(folder, 'package.json');
  try {
    const { name, version: found } = JSON.parse(readFileSync(file, 'utf8'));
    if (name === 'diffx') return found;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return findVersion(path.dirname(folder));
}
