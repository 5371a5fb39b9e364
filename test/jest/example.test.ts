/** The project in fixtures/example, as a user would run it: built, tested in jest and vitest, and failing where it must. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { temporaryFolder } from '../support/fixtures';

const root = path.resolve(__dirname, '../..');

/** The example in a folder of its own, with diffx and the test runner installed. */
function project(runner: 'jest' | 'vitest'): string {
  const folder = path.join(temporaryFolder(), `example-${runner}`);
  fs.cpSync(path.join(root, 'fixtures/example', runner), folder, { recursive: true });
  fs.copyFileSync(path.join(root, 'fixtures/llama.onnx'), path.join(folder, 'model.onnx'));
  const modules = path.join(folder, 'node_modules');
  fs.mkdirSync(modules, { recursive: true });
  fs.symlinkSync(root, path.join(modules, 'diffx'), 'dir');
  fs.symlinkSync(path.join(root, 'node_modules', runner), path.join(modules, runner), 'dir');
  return folder;
}

function run(folder: string, script: string, args: readonly string[] = []) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [path.join(root, script), ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0', CI: '1' },
  });
  return { status, text: `${stdout}${stderr}` };
}

const runners = {
  jest: ['node_modules/jest/bin/jest.js'],
  vitest: ['node_modules/vitest/vitest.mjs', 'run'],
} as const;

describe.each(Object.entries(runners))('%s', (name, [script, ...args]) => {
  const folder = project(name as keyof typeof runners);
  const rewrite = (...options: string[]) =>
    run(folder, 'dist/src/cli/main.js', ['rewrite', 'model.onnx', '-q', '--force', ...options]);

  test('passes for a rewrite that keeps the function', () => {
    expect(rewrite('--init', 'preserve')).toMatchObject({ status: 0 });
    const { status, text } = run(folder, script, args);
    expect(text).toMatch(/Tests +2 passed|Tests: +2 passed/);
    expect(status).toBe(0);
  });

  test('fails for one that does not, and says what was proven and what was not', () => {
    expect(rewrite()).toMatchObject({ status: 0 });
    const { status, text } = run(folder, script, args);
    expect(status).toBe(1);
    expect(text).toContain('expected model.diff.onnx to be equivalent to model.onnx');
    expect(text).toContain('options that change the function');
    expect(text).toContain('every rewritten layer equals differential attention in float64');
  });
});
