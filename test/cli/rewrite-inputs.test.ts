/** `diffx rewrite --verify --inputs`: proven with inputs of one's own. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { openExport } from '../support/fixtures';
import { textBytes } from '../support/models';
import { writeTensors } from '../support/run';
import { attentionText } from '../verify/support/attention-text';
import { diffx, documentOf, expectFailure, filesIn, workFolder } from './run-cli';

test('the inputs of a file are the only case', () => {
  const folder = workFolder();
  fs.copyFileSync(openExport('llama-dec-ts17-sdpa').io, path.join(folder, 'io.safetensors'));
  const options = ['--init', 'preserve', '--verify', '--inputs', 'io.safetensors'];
  const run = diffx(['rewrite', 'model.onnx', '--json', ...options], folder);
  expect(run.code).toBe(0);
  expect(documentOf(run)).toMatchObject({
    verification: { passed: true, cases: ['inputs of io.safetensors'] },
  });
});

test('inputs that do not fit are an error, and nothing is written', () => {
  const folder = workFolder();
  const text = attentionText({});
  fs.writeFileSync(path.join(folder, 'text.onnx'), textBytes(text));
  writeTensors(path.join(folder, 'io.safetensors'), {
    other: { dtype: 1, shape: [1], data: Float32Array.of(1) },
  });
  const before = filesIn(folder);
  const run = diffx(['rewrite', 'text.onnx', '--verify', '--inputs', 'io.safetensors'], folder);
  expectFailure(run, { exit: 2, says: /io\.safetensors: has no tensor 'input\.a0'/ }, folder, before);
});

test('they are of no use without --verify', () => {
  const folder = workFolder();
  const run = diffx(['rewrite', 'model.onnx', '--inputs', 'io.safetensors'], folder);
  expectFailure(run, { exit: 2, says: /--inputs needs --verify/ }, folder, ['model.onnx']);
});

test('a configuration file names them', () => {
  const folder = workFolder();
  fs.copyFileSync(openExport('llama-dec-ts17-sdpa').io, path.join(folder, 'io.safetensors'));
  fs.writeFileSync(path.join(folder, 'diffx.config.yml'), 'inputs: io.safetensors\n');
  const written = diffx(['rewrite', 'model.onnx', '--json', '--init', 'preserve', '--verify'], folder);
  expect(documentOf(written)).toMatchObject({ verification: { cases: ['inputs of io.safetensors'] } });
  const verified = diffx(['verify', 'model.onnx', 'model.diff.onnx', '--json'], folder);
  expect(documentOf(verified)).toMatchObject({ passed: true, cases: ['inputs of io.safetensors'] });
});

test('a model that runs with none of the generated inputs says so, and what to do', () => {
  const folder = workFolder();
  const text = attentionText({
    constants: ', int64[3] never = {-1, 7919, 8}',
    before: 'x = Reshape (a0, never)',
  });
  fs.writeFileSync(path.join(folder, 'text.onnx'), textBytes(text));
  const run = diffx(['rewrite', 'text.onnx', '--verify'], folder);
  expectFailure(run, { exit: 2, says: /runs with none of the generated inputs/ }, folder, filesIn(folder));
  expect(run.stderr).toMatch(/hint: Give inputs with --inputs file\.safetensors\./);
});
