/** `--save-weights` and `diffx weights`: the attention parameters as a checkpoint, beside the model or later. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { openExport } from '../support/fixtures';
import { readTensors } from '../support/run';
import { diffx, documentOf, expectFailure, filesIn, workFolder } from './run-cli';

const SAVE = ['--save-weights', 'saved.safetensors'];

test('rewrite --save-weights writes both, says so, and the model loads what it wrote', () => {
  const folder = workFolder();
  const run = diffx(['rewrite', 'model.onnx', ...SAVE, '--strip-prefix', 'm.'], folder);
  expect(run.code).toBe(0);
  expect(run.stdout).toMatch(
    /^Saved saved\.safetensors: 20 tensors of 2 attentions, the first is model\.layers\.0\./m,
  );
  expect(filesIn(folder)).toEqual(['model.diff.onnx', 'model.onnx', 'saved.safetensors']);
  const again = [
    '--seed',
    '5',
    '--weights',
    'saved.safetensors',
    '--strict-weights',
    '-o',
    'again.onnx',
    '--verify',
  ];
  expect(diffx(['rewrite', 'model.onnx', ...again], folder).code).toBe(0);
});

test('diffx weights gives the same file from the models', () => {
  const folder = workFolder();
  const one = documentOf(diffx(['rewrite', 'model.onnx', ...SAVE, '--json', '--verify'], folder));
  const files = ['model.onnx', 'model.diff.onnx', '-o', 'later.safetensors'];
  const other = documentOf(diffx(['weights', ...files, '--json'], folder));
  expect(other).toMatchObject({ command: 'weights', path: 'later.safetensors', layers: 2 });
  expect(one['saved']).toEqual({ path: 'saved.safetensors', layers: 2, keys: other['keys'] });
  const bytes = (name: string) => fs.readFileSync(path.join(folder, name));
  expect(bytes('later.safetensors').equals(bytes('saved.safetensors'))).toBe(true);
  expect(Object.keys(readTensors(path.join(folder, 'later.safetensors')))).toHaveLength(20);
});

test('to standard output goes the model alone', () => {
  const folder = workFolder();
  const run = diffx(['rewrite', 'model.onnx', ...SAVE, '-o', '-', '-q'], folder);
  expect(run.code).toBe(0);
  expect(filesIn(folder)).toEqual(['model.onnx', 'saved.safetensors']);
  expect(diffx(['rewrite', 'model.onnx', '-q'], folder).code).toBe(0);
  expect(run.output.equals(fs.readFileSync(path.join(folder, 'model.diff.onnx')))).toBe(true);
});

test.each([[[]], [['--verify']]])(
  'a file that is in the way is found before anything is written: %j',
  (verify) => {
    const folder = workFolder();
    fs.writeFileSync(path.join(folder, 'saved.safetensors'), 'mine');
    const files = filesIn(folder);
    const run = diffx(['rewrite', 'model.onnx', ...SAVE, ...verify], folder);
    expectFailure(run, { exit: 2, says: /saved\.safetensors: exists already/ }, folder, files);
  },
);

test('a folder that is not there leaves no model behind', () => {
  const folder = workFolder();
  const run = diffx(['rewrite', 'model.onnx', '--save-weights', 'no/such.safetensors'], folder);
  expectFailure(run, { exit: 2, says: /no\/such\.safetensors: cannot be written/ }, folder, ['model.onnx']);
});

test('what makes no sense is said', () => {
  const folder = workFolder();
  const fails = (args: readonly string[], says: RegExp) =>
    expectFailure(diffx(args, folder), { exit: 2, says }, folder, ['model.onnx']);
  fails(['rewrite', 'model.onnx', '--strip-prefix', 'm.'], /--strip-prefix needs --save-weights/);
  fails(
    ['rewrite', 'model.onnx', ...SAVE, '--strip-prefix', 'x.'],
    /--strip-prefix x\.: 'm\.model\.layers\.0\.self_attn'/,
  );
  fails(
    ['rewrite', 'model.onnx', '-o', 'a.onnx', '--save-weights', './a.onnx'],
    /a\.onnx: two files would be written there/,
  );
  fails(
    ['weights', 'model.onnx', 'model.onnx', '-o', 'w.safetensors'],
    /model\.onnx: was not written by diffx/,
  );
});

test('quantized queries are refused, and nothing is written', () => {
  const folder = workFolder(openExport('bert-enc-ts14-eager+int8').model);
  const run = diffx(['rewrite', 'model.onnx', '--mirror-weights', ...SAVE], folder);
  expectFailure(run, { exit: 2, says: /self: queries or keys are stored quantized/ }, folder, ['model.onnx']);
});
