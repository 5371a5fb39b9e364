/** `diffx verify`: the verdict, its numbers and its exit code. What it finds is the subject of test/verify. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { derive, encode, mapTensors, memoryBytes, readModel } from '../../src/onnx';
import type { VerifyReport } from '../../src/verify/report';
import { floatTensor, numbersOf, readTensors, writeTensors } from '../support/run';
import { diffx, documentOf, filesIn, workFolder } from './run-cli';

const folder = workFolder();
const files = ['broken.onnx', 'model.diff.onnx', 'model.onnx'];

beforeAll(() => {
  diffx(['rewrite', 'model.onnx', '-q', '--init', 'preserve'], folder);
  const rewritten = readModel(path.join(folder, 'model.diff.onnx'));
  const proto = mapTensors('ModelProto', rewritten.proto, (tensor) => {
    if (tensor.name !== 'm.model.layers.1.self_attn.q2_proj.weight') return tensor;
    const bytes = Uint8Array.from(rewritten.tensorBytes(tensor).read());
    bytes[3] = (bytes[3] ?? 0) ^ 0x80; // the sign of the first number
    return derive(tensor, { rawData: memoryBytes(bytes) });
  });
  fs.writeFileSync(path.join(folder, 'broken.onnx'), encode('ModelProto', proto).read());
});

test('a rewrite that keeps the function is verified, output by output', () => {
  const run = diffx(['verify', 'model.onnx', 'model.diff.onnx'], folder);
  expect([run.code, run.stderr]).toEqual([0, '']);
  expect(run.stdout).toMatch(/^model\.diff\.onnx: verified against model\.onnx on cpu\n/);
  expect(run.stdout).not.toContain('FAIL');
  expect(run.stdout).toMatch(
    /\n {2}output +max abs +max rel +rms +cosine +top-1\n {2}logits +\d.*100\.0 %\n/,
  );
  expect(filesIn(folder)).toEqual(files);
});

test('a changed weight is found: exit 1, the layer is named', () => {
  const run = diffx(['verify', 'model.onnx', 'broken.onnx'], folder);
  expect(run.code).toBe(1);
  expect(run.stdout).toMatch(/^broken\.onnx: not verified against model\.onnx/);
  expect(run.stdout).toContain('  FAIL  ');
  expect(run.stderr).toMatch(
    /^error: broken\.onnx: verification failed: .*layers\.1\.self_attn.*\nhint: .+\n$/,
  );
  const quiet = diffx(['verify', 'model.onnx', 'broken.onnx', '-q'], folder);
  expect([quiet.code, quiet.stdout]).toEqual([1, '']);
});

test('--json prints the report, with the error where there is one', () => {
  const good = documentOf(diffx(['verify', 'model.onnx', 'model.diff.onnx', '--json'], folder));
  expect(good).toMatchObject({ schemaVersion: 1, command: 'verify', passed: true, keepsFunction: true });
  expect(good['error']).toBeUndefined();
  const bad = documentOf(diffx(['verify', 'model.onnx', 'broken.onnx', '--json'], folder));
  expect(bad).toMatchObject({ passed: false, error: { code: 'verification-failed', exitCode: 1 } });
});

test('--atol decides how far apart outputs may be', () => {
  const run = diffx(['verify', 'model.onnx', 'model.diff.onnx', '--atol', '1e-12'], folder);
  expect(run.code).toBe(1);
});

test.each([
  ['gpu', /^error: 'gpu' is no execution provider/],
  ['cuda:fast=1', /^error: --ep cuda:fast=1: cuda has no option 'fast'\nhint: Options of cuda: device_id, /],
  ['webgpu:1', /^error: --ep webgpu:1: webgpu takes no number of a device\n/],
])('--ep %s: exit 2, before anything is done', (ep, says) => {
  const run = diffx(['verify', 'nowhere.onnx', 'nowhere.onnx', '--ep', ep], folder);
  expect([run.code, run.stdout]).toEqual([2, '']);
  expect(run.stderr).toMatch(says);
});

test('--ep: exit 4 for a provider that is not there, with the command that installs it', () => {
  const run = diffx(['verify', 'model.onnx', 'model.diff.onnx', '--ep', 'coreml'], folder);
  if (process.platform === 'darwin') return;
  expect([run.code, run.stdout]).toEqual([4, '']);
  expect(run.stderr).toMatch(
    /^error: the execution provider 'coreml' is not available: .*\nhint: Run it on macOS/,
  );
});

describe('--against', () => {
  const golden = path.join(__dirname, '../../fixtures/llama.io.safetensors');

  test('outputs that were recorded are compared as well', () => {
    const run = documentOf(
      diffx(['verify', 'model.onnx', 'model.diff.onnx', '--against', golden, '--json'], folder),
    ) as unknown as VerifyReport;
    expect(run.passed).toBe(true);
    const check = run.checks.find(({ name }) => name === 'recorded-outputs');
    expect(check).toMatchObject({ passed: true, compared: 1 });
    expect(check?.maxAbs).toBeLessThan(1e-4);
  });

  test('and a difference is found: exit 1', () => {
    const tensors = { ...readTensors(golden) };
    const logits = tensors['output.logits'];
    if (!logits) throw new Error('no logits');
    const numbers = Float32Array.from(numbersOf(logits));
    numbers[7] = (numbers[7] ?? 0) + 0.01;
    writeTensors(path.join(folder, 'other.safetensors'), {
      ...tensors,
      'output.logits': floatTensor(logits.shape, numbers),
      'output.nothing': floatTensor([1], [0]),
    });
    const run = diffx(['verify', 'model.onnx', 'model.diff.onnx', '--against', 'other.safetensors'], folder);
    expect(run.code).toBe(1);
    expect(run.stdout).toMatch(/FAIL {2}the outputs are those that were recorded/);
    expect(run.stdout).toContain('the model has no such output');
    expect(run.stdout).toMatch(/logits: 1 elements differ, by up to 1\.00e-2/);
  });

  test('a file without outputs says so: exit 2', () => {
    const inputs = Object.entries(readTensors(golden)).filter(([name]) => name.startsWith('input.'));
    writeTensors(path.join(folder, 'inputs.safetensors'), Object.fromEntries(inputs));
    const run = diffx(['verify', 'model.onnx', 'model.diff.onnx', '--against', 'inputs.safetensors'], folder);
    expect([run.code, run.stdout]).toEqual([2, '']);
    expect(run.stderr).toContain('inputs.safetensors');
    expect(run.stderr).toContain("has no 'output.<name>' to compare with");
  });
});

describe('--junit', () => {
  test('writes a test for each check, and does not overwrite unasked', () => {
    const good = ['verify', 'model.onnx', 'model.diff.onnx', '-q', '--junit', 'good.xml'];
    expect(diffx(good, folder).code).toBe(0);
    const xml = fs.readFileSync(path.join(folder, 'good.xml'), 'utf8');
    const [, tests, failures] = /<testsuite [^>]*tests="(\d+)" failures="(\d+)"/.exec(xml) ?? [];
    expect(Number(tests)).toBeGreaterThanOrEqual(7);
    expect(failures).toBe('0');
    expect(xml).toContain('name="layers: every rewritten layer equals differential attention in float64"');
    const again = diffx(good, folder);
    expect([again.code, again.stdout]).toEqual([2, '']);
    expect(again.stderr).toMatch(/^error: good\.xml/);
    expect(diffx([...good, '--force'], folder).code).toBe(0);
  });

  test('failures are in it', () => {
    expect(diffx(['verify', 'model.onnx', 'broken.onnx', '-q', '--junit', 'bad.xml'], folder).code).toBe(1);
    const xml = fs.readFileSync(path.join(folder, 'bad.xml'), 'utf8');
    expect(xml).toMatch(/<testsuite [^>]*failures="[1-9]/);
    expect(xml).toMatch(/<failure message="[^"]*layers\.1\.self_attn/);
  });
});
