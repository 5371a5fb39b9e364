/** `diffx monitor`: logs, tables, and what is refused. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { readEvents } from '../monitor/event-records';
import { openExport } from '../support/fixtures';
import { readTensors, writeTensors } from '../support/run';
import { diffx, documentOf, expectFailure, filesIn, workFolder } from './run-cli';

const folder = workFolder();
const IO = path.join(__dirname, '../../fixtures/llama.io.safetensors');
const JSON_LINES = 'metrics.jsonl';
const EVENTS = 'events.out.tfevents.0000000000.diffx';
let files: string[];

beforeAll(() => {
  fs.mkdirSync(path.join(folder, 'batches'));
  for (const n of [1, 2, 10]) fs.copyFileSync(IO, path.join(folder, `batches/b-${n}.safetensors`));
  const { input_ids, ...rest } = readTensors(IO, 'input.');
  if (!input_ids) throw new Error('no ids');
  const ids = { ...input_ids, data: (input_ids.data as BigInt64Array).map(() => 100_000n) };
  writeTensors(path.join(folder, 'bad-ids.safetensors'), { input_ids: ids, ...rest });
  writeTensors(path.join(folder, 'no-ids.safetensors'), rest);
  const rewrite = (...args: string[]) => diffx(['rewrite', 'model.onnx', '-q', ...args], folder);
  expect(rewrite('--mix-input', '--monitor-layers', '2', '-o', 'monitored.onnx').code).toBe(0);
  expect(rewrite('--mix-input', '-o', 'plain.onnx').code).toBe(0);
  expect(rewrite('-o', 'unmixed.onnx').code).toBe(0);
  files = filesIn(folder);
});

const monitor = (...args: string[]) => diffx(['monitor', ...args], folder);
const linesOf = (logs: string) =>
  fs
    .readFileSync(path.join(folder, logs, JSON_LINES), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, number | null>);

const BATCHES = ['--inputs', 'batches/*.safetensors'];

test('logs every second step and the last, under the names of the original', () => {
  const run = monitor(
    'monitored.onnx',
    ...BATCHES,
    '--log-every',
    '2',
    '--warmup-steps',
    '4',
    '--log-dir',
    'runs/a/b',
  );
  expect([run.code, run.stderr]).toEqual([0, '']);
  expect(filesIn(path.join(folder, 'runs/a/b'))).toEqual([EVENTS, JSON_LINES]);
  const lines = linesOf('runs/a/b');
  expect(lines.map(({ step }) => step)).toEqual([2, 3]);
  // Step s runs with the mix that the steps before it have earned.
  expect(lines.map((line) => line['aggregate/diff_attn_mix'])).toEqual([0.25, 0.5]);
  const layer = [
    ...['lambda_q1_norm', 'lambda_k1_norm', 'lambda_q2_norm', 'lambda_k2_norm', 'lambda1', 'lambda2'],
    ...['lambda_init', 'lambda_full', 'attn1_mean', 'attn1_std', 'attn2_mean', 'attn2_std'],
  ];
  const aggregated = layer.filter((name) => name !== 'lambda_init' && !name.startsWith('attn'));
  expect(Object.keys(lines[0] ?? {}).sort()).toEqual(
    [
      ...['step', 'wall_time', 'aggregate/diff_attn_mix'],
      ...layer.flatMap((name) => [`layer_0/${name}`, `layer_1/${name}`]),
      ...aggregated.flatMap((name) => [`aggregate/${name}_mean`, `aggregate/${name}_std`]),
    ].sort(),
  );
  expect(run.stdout).toMatch(/^monitored\.onnx: 3 batches, 2 steps logged\nStep 3, diff_attn_mix 0\.5\n/);
  expect(run.stdout).toMatch(/\n {2}attn2_std +0\.\d+ +0\.\d+\n/);
});

test('the event file holds the same numbers', () => {
  const events = readEvents(fs.readFileSync(path.join(folder, 'runs/a/b', EVENTS))).slice(1);
  const lines = linesOf('runs/a/b').map(({ step, wall_time, ...metrics }) => {
    const scalars = Object.entries(metrics).map(([name, value]) => [name, Math.fround(value ?? Number.NaN)]);
    return { step, wallTime: wall_time, fileVersion: undefined, scalars: Object.fromEntries(scalars) };
  });
  expect(events).toEqual(lines);
});

test('a model without the outputs gives the same numbers', () => {
  const args = [...BATCHES, '--log-every', '2', '--warmup-steps', '4', '--num-monitor-layers', '2'];
  expect(monitor('plain.onnx', ...args, '--log-dir', 'runs/plain').code).toBe(0);
  const [plain, monitored] = ['runs/plain', 'runs/a/b'].map((logs) =>
    linesOf(logs).map(({ wall_time, ...line }) => line),
  );
  expect(plain).toHaveLength(2);
  expect(plain).toEqual(monitored);
});

test('--num-monitor-layers chooses, aggregates are over all layers all the same', () => {
  const document = documentOf(
    monitor('monitored.onnx', ...BATCHES, '--num-monitor-layers', '1', '--log-dir', 'runs/one', '--json'),
  );
  expect(document).toMatchObject({
    command: 'monitor',
    batches: ['batches/b-1.safetensors', 'batches/b-2.safetensors', 'batches/b-10.safetensors'],
    layers: [{ number: 0, of: 'probabilities' }],
    files: [`runs/one/${JSON_LINES}`, `runs/one/${EVENTS}`],
    warnings: [],
  });
  const [line = {}] = linesOf('runs/one');
  expect(Object.keys(line).filter((name) => name.startsWith('layer_1/'))).toEqual([]);
  expect(line['aggregate/lambda1_mean']).toBe(linesOf('runs/a/b')[0]?.['aggregate/lambda1_mean']);
  expect(line['aggregate/diff_attn_mix']).toBe(1);
});

test('logs go to runs/<model>, and none are overwritten without --force', () => {
  expect(monitor('plain.onnx', ...BATCHES, '-q').stdout).toBe('');
  const written = linesOf('runs/plain');
  const again = monitor('plain.onnx', ...BATCHES);
  expect(again.code).toBe(2);
  expect(again.stderr).toMatch(/^error: runs\/plain\/metrics\.jsonl: exists already\nhint: .*--log-dir/);
  expect(linesOf('runs/plain')).toEqual(written);
  expect(monitor('plain.onnx', ...BATCHES, '--log-every', '1', '--force').code).toBe(0);
  expect(linesOf('runs/plain')).toHaveLength(3);
});

test('a schedule for a model without the input is said to be none', () => {
  const run = monitor('unmixed.onnx', ...BATCHES, '--warmup-steps', '10', '--log-dir', 'runs/unmixed');
  expect(run.code).toBe(0);
  expect(run.stderr).toMatch(/^warning: the model has no input diff_attn_mix, .*--mix-input\n$/);
  expect(linesOf('runs/unmixed')[0]?.['aggregate/diff_attn_mix']).toBe(1);
});

test('fused operators keep their maps: it is said', () => {
  const { model, io } = openExport('bert-enc-dy23-sdpa');
  const work = workFolder(model);
  expect(diffx(['rewrite', 'model.onnx', '--monitor-layers', '1'], work).stderr).toMatch(/ fused operators/);
  const run = diffx(['monitor', 'model.diff.onnx', '--inputs', io], work);
  expect(run.stderr).toMatch(/^warning: attn1 and attn2 of layer_0 are A1 V and A2 V: /);
  expect(run.code).toBe(0);
});

test.each<[string, string[], RegExp]>([
  [
    'a model that diffx has not written',
    ['model.onnx', ...BATCHES],
    /^error: model\.onnx: was not written by diffx/,
  ],
  ['no such model', ['none.onnx', ...BATCHES], /none\.onnx: no such file/],
  ['no inputs', ['plain.onnx'], /required option '--inputs/],
  [
    'a pattern that matches nothing',
    ['plain.onnx', '--inputs', 'x/*.st'],
    /--inputs x\/\*\.st: no such file/,
  ],
  ['a batch that is no safetensors file', ['plain.onnx', '--inputs', 'model.onnx'], /not a safetensors file/],
  [
    'a batch without an input',
    ['plain.onnx', '--inputs', 'no-ids.safetensors'],
    /no-ids\.safetensors: .*'input\.input_ids'/,
  ],
  [
    'a batch that does not run',
    ['plain.onnx', '--inputs', 'bad-ids.safetensors'],
    /bad-ids\.safetensors: does not run: /,
  ],
  ['no layers', ['plain.onnx', ...BATCHES, '--num-monitor-layers', '0'], /--num-monitor-layers 0: not/],
  ['no steps', ['plain.onnx', ...BATCHES, '--log-every', '0'], /--log-every 0: not/],
  ['half a step', ['plain.onnx', ...BATCHES, '--warmup-steps', '0.5'], /--warmup-steps 0\.5: not/],
])('%s: exit 2, and nothing is written', (_, args, says) => {
  fs.rmSync(path.join(folder, 'runs'), { recursive: true, force: true });
  expectFailure(monitor(...args), { exit: 2, says }, folder, files);
});
