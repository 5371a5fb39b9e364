/** A project of a user, with diffx installed from what `npm pack` makes of this checkout. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { ROOT } from './markdown';

/** A file of the package. */
export interface PackedFile {
  readonly path: string;
  readonly size: number;
}

export function npm(args: readonly string[], cwd: string): string {
  return execFileSync('npm', [...args], { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

/**
 * Installs the packed package into a folder as npm does, but with the dependencies that are already here: those that
 * package.json names and no others, so that nothing undeclared is found. Needs `npm run build` before.
 * @returns what the package holds
 */
export function install(folder: string): PackedFile[] {
  const [{ filename, files }] = JSON.parse(npm(['pack', '--json', '--pack-destination', folder], ROOT));
  const modules = path.join(folder, 'node_modules');
  const target = path.join(modules, 'diffx');
  fs.mkdirSync(path.join(modules, '.bin'), { recursive: true });
  execFileSync('tar', ['-xzf', filename], { cwd: folder });
  fs.rmSync(path.join(folder, filename));
  fs.renameSync(path.join(folder, 'package'), target);
  const { dependencies, bin } = JSON.parse(fs.readFileSync(path.join(target, 'package.json'), 'utf8'));
  for (const name of Object.keys(dependencies)) {
    fs.mkdirSync(path.dirname(path.join(modules, name)), { recursive: true });
    fs.symlinkSync(path.join(ROOT, 'node_modules', name), path.join(modules, name));
  }
  for (const [name, file] of Object.entries<string>(bin)) {
    fs.chmodSync(path.join(target, file), 0o755);
    fs.symlinkSync(path.join('..', 'diffx', file), path.join(modules, '.bin', name));
  }
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "name": "project", "private": true }\n');
  return files;
}

/** Runs a shell command in a folder where `diffx` is on the path; standard error goes where standard output goes. */
export function shell(command: string, folder: string): { readonly text: string; readonly code: number } {
  const bin = path.join(folder, 'node_modules', '.bin');
  const environment = { ...process.env, PATH: `${bin}${path.delimiter}${process.env['PATH']}` };
  try {
    const text = execFileSync('bash', ['-c', `exec 2>&1\n${command}`], {
      cwd: folder,
      encoding: 'utf8',
      env: environment,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    return { text, code: 0 };
  } catch (error) {
    const { status, stdout } = error as { status: number | null; stdout: string };
    if (status === null || status === undefined) throw error;
    return { text: stdout, code: status };
  }
}
