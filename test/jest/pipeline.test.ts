/** The build step in fixtures/example/pipeline: what a Dockerfile and a workflow call, run without either. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { parse } from 'yaml';
import { temporaryFolder } from '../support/fixtures';

const root = path.resolve(__dirname, '../..');
const example = path.join(root, 'fixtures/example/pipeline');

/** The example in a folder of its own, with diffx installed. */
function project(): string {
  const folder = path.join(temporaryFolder(), 'pipeline');
  fs.rmSync(folder, { recursive: true, force: true });
  fs.cpSync(example, folder, { recursive: true });
  fs.mkdirSync(path.join(folder, 'node_modules/.bin'), { recursive: true });
  const program = path.join(root, 'dist/src/cli/main.js');
  const shim = `#!/bin/sh\nexec ${process.execPath} ${program} "$@"\n`;
  fs.writeFileSync(path.join(folder, 'node_modules/.bin/diffx'), shim, { mode: 0o755 });
  return folder;
}

function step(folder: string): number | null {
  return spawnSync('bash', ['rewrite.sh'], { cwd: folder, encoding: 'utf8' }).status;
}

test('the step rewrites, verifies and leaves its reports', () => {
  const folder = project();
  fs.copyFileSync(path.join(root, 'fixtures/llama.onnx'), path.join(folder, 'model.onnx'));
  expect(step(folder)).toBe(0);
  expect(fs.readdirSync(path.join(folder, 'build')).sort()).toEqual([
    'model.onnx',
    'rewrite.json',
    'verify.json',
    'verify.xml',
  ]);
  const verified = JSON.parse(fs.readFileSync(path.join(folder, 'build/verify.json'), 'utf8'));
  expect(verified).toMatchObject({ command: 'verify', passed: true });
});

test('the step fails with the exit code of diffx', () => {
  const folder = project();
  fs.writeFileSync(path.join(folder, 'model.onnx'), 'no model');
  expect(step(folder)).toBe(2);
});

test('the Dockerfile and the workflow run that step, after the same set-up', () => {
  const image = fs.readFileSync(path.join(example, 'Dockerfile'), 'utf8');
  const ran = [...image.matchAll(/^RUN (.*)$/gm)].map(([, command]) => command);
  const workflow = parse(fs.readFileSync(path.join(example, 'rewrite-model.yml'), 'utf8'));
  const steps = workflow.jobs.rewrite.steps as { run?: string }[];
  expect(ran).toEqual(['npm ci --ignore-scripts', './rewrite.sh']);
  expect(steps.flatMap(({ run }) => run ?? [])).toEqual(ran);
});
