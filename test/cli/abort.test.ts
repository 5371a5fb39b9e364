/** A model that makes ONNX Runtime abort: one line, the right exit code, one document, and nothing stays behind. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { verify } from '../../src';
import { rewriteModel, writeRewritten } from '../../src/api/rewrite';
import { FIXTURES, temporaryFolder } from '../support/fixtures';
import { diffx, documentOf, expectFailure, filesIn, LLAMA, MAIN, workFolder } from './run-cli';

const ABORTS = path.join(FIXTURES, 'cases/abort-split.onnx');
const SAYS = /does not survive it: its process was ended by SIGABRT, after 'Assertion .* failed\.'/;

const scratch = fs.mkdtempSync(path.join(temporaryFolder(), 'scratch-'));
const run = (folder: string, ...args: string[]) => diffx(args, folder, { TMPDIR: scratch });

/** With the rewritten model beside it. */
function pair(): string {
  const folder = workFolder(ABORTS);
  writeRewritten(rewriteModel(path.join(folder, 'model.onnx')), path.join(folder, 'diff.onnx'), false);
  return folder;
}

/** Processes of ONNX Runtime whose parent is gone. */
function orphans(): string {
  return spawnSync('ps', ['-eo', 'ppid=,args='], { encoding: 'utf8' })
    .stdout.split('\n')
    .filter((line) => /^\s*1\s.*runtime\/host\.js/.test(line))
    .join('\n');
}

afterEach(() => {
  expect(filesIn(scratch)).toEqual([]);
  if (process.platform === 'linux') expect(orphans()).toBe('');
});

test('verify', () => {
  const folder = pair();
  const failure = { exit: 2, says: SAYS };
  expectFailure(run(folder, 'verify', 'model.onnx', 'diff.onnx'), failure, folder, [
    'diff.onnx',
    'model.onnx',
  ]);
  const asJson = run(folder, 'verify', 'model.onnx', 'diff.onnx', '--json');
  expect(documentOf(asJson)).toMatchObject({ command: 'verify', error: { exitCode: 2 } });
  expect(asJson.code).toBe(2);
});

test('rewrite --verify: nothing is written', () => {
  const folder = workFolder(ABORTS);
  const failure = { exit: 2, says: SAYS };
  expectFailure(run(folder, 'rewrite', 'model.onnx', '--verify', '--init', 'preserve'), failure, folder, [
    'model.onnx',
  ]);
  const asJson = run(folder, 'rewrite', 'model.onnx', '--verify', '--init', 'preserve', '--json');
  expect(documentOf(asJson)).toMatchObject({ command: 'rewrite', error: { exitCode: 2 } });
});

test('rewrite --debug: the model is written, and not run', () => {
  const folder = workFolder(ABORTS);
  const { code, stderr, stdout } = run(
    folder,
    'rewrite',
    'model.onnx',
    '--debug',
    '--json',
    '--init',
    'preserve',
  );
  expect([code, stderr]).toEqual([0, '']);
  expect(JSON.parse(stdout)).toMatchObject({ debug: { notRun: expect.stringMatching(SAYS), match: null } });
  expect(filesIn(folder)).toEqual(['model.diff.onnx', 'model.onnx']);
});

test('monitor: the model is what the user gave it', () => {
  const folder = pair();
  fs.copyFileSync(path.join(FIXTURES, 'llama.io.safetensors'), path.join(folder, 'batch.safetensors'));
  const files = ['batch.safetensors', 'diff.onnx', 'model.onnx'];
  const args = ['monitor', 'diff.onnx', '--inputs', 'batch.safetensors', '--log-dir', 'logs'];
  expectFailure(run(folder, ...args), { exit: 2, says: SAYS }, folder, files);
  const asJson = run(folder, ...args, '--json');
  expect(documentOf(asJson)).toMatchObject({ command: 'monitor', error: { exitCode: 2 } });
});

test('the library goes on: the next model is verified', async () => {
  const folder = pair();
  const [original, rewritten] = [path.join(folder, 'model.onnx'), path.join(folder, 'diff.onnx')];
  await expect(verify(original, rewritten)).rejects.toMatchObject({
    code: 'runtime-ended',
    exitCode: 2,
    message: expect.stringMatching(SAYS),
  });
  const other = path.join(folder, 'llama.onnx');
  writeRewritten(rewriteModel(LLAMA, { init: 'preserve' }), other, false);
  expect(await verify(LLAMA, other, { lengths: [3], batches: [1] })).toMatchObject({ passed: true });
});

test('where only the rewritten model makes it abort, that is a finding: exit code 1', async () => {
  const folder = workFolder();
  writeRewritten(rewriteModel(LLAMA, { init: 'preserve' }), path.join(folder, 'diff.onnx'), false);
  // It dies when it loads the rewritten model, as the file is.
  const hook = path.join(folder, 'hook.js');
  fs.writeFileSync(
    hook,
    `if (/runtime.host\\.js$/.test(process.argv[1] ?? '') && require('node:worker_threads').isMainThread) {
      const { InferenceSession } = require(${JSON.stringify(require.resolve('onnxruntime-node'))});
      const { create } = InferenceSession;
      InferenceSession.create = (model, settings) => {
        if (model === 'diff.onnx') process.abort();
        return create.call(InferenceSession, model, settings);
      };
    }`,
  );
  const { code, stdout } = diffx(['verify', 'model.onnx', 'diff.onnx', '--json'], folder, {
    TMPDIR: scratch,
    NODE_OPTIONS: `--require ${hook}`,
  });
  expect(code).toBe(1);
  const { checks } = JSON.parse(stdout) as { checks: { findings: { message: string }[] }[] };
  const said = checks.flatMap(({ findings }) => findings.map(({ message }) => message));
  expect(said).toContainEqual(expect.stringMatching(/diff\.onnx: .* was ended by SIGABRT/));
  fs.rmSync(hook);
});

/** How many file handles there are is a limit of the shell. */
const onLinux = process.platform === 'linux' ? test : test.skip;

onLinux('where file handles do not suffice for its process, that is said, and no fault of the model', () => {
  const folder = workFolder();
  const args = ['rewrite', 'model.onnx', '-o', 'out.onnx', '--verify', '--init', 'preserve', '--json', '-q'];
  const command = [process.execPath, MAIN, ...args].map((each) => `'${each}'`).join(' ');
  const codes = [24, 26, 28, 31, 34].map((handles) => {
    const { status, stdout } = spawnSync('bash', ['-c', `ulimit -n ${handles} && exec ${command}`], {
      cwd: folder,
      env: { ...process.env, TMPDIR: scratch },
      encoding: 'utf8',
    });
    fs.rmSync(path.join(folder, 'out.onnx'), { force: true });
    expect(filesIn(folder)).toEqual(['model.onnx']);
    return status === 0 ? 'done' : `${status} ${JSON.parse(stdout).error?.code}`;
  });
  // Versions of Node need more or fewer for themselves.
  expect(codes).toContain('2 no-file-handles');
  expect(codes.filter((each) => each !== 'done' && each !== '2 no-file-handles')).toEqual([]);
});
