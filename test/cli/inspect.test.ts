/** `diffx inspect`: what a person reads, and what a program gets. */
import * as path from 'node:path';
import { inspectModel } from '../../src/api/inspect';
import { lambdaInitOfDepth } from '../../src/rewrite/parameters';
import { openExport } from '../support/fixtures';
import { diffx, documentOf, LLAMA, workFolder } from './run-cli';

test('shows each attention in a line, without colour where nobody looks', () => {
  const run = diffx(['inspect', LLAMA], '/');
  expect([run.code, run.stderr]).toEqual([0, '']);
  expect(run.stdout).toContain('llama.onnx: by pytorch 2.13.0, IR version 8, opset 17\n');
  const lines = run.stdout.split('\n').filter((line) => line.includes('self_attn'));
  expect(lines).toHaveLength(2);
  for (const line of lines) expect(line).toMatch(/ 4 +2 +8 +0\.353553 .*rotary +none +softmax-attention$/);
  expect(run.stdout).not.toContain('\u001b');
});

test('--explain names the nodes that play the parts', () => {
  const { stdout } = diffx(['inspect', LLAMA, '--explain'], '/');
  expect(stdout).toContain("query    MatMul '/m/model/layers.0/self_attn/q_proj/MatMul'");
  expect(stdout).toContain("key      MatMul '/m/model/layers.1/self_attn/k_proj/MatMul'");
  expect(stdout).toContain("softmax  '/m/model/layers.0/self_attn/Softmax'");
  expect(stdout).toContain('[batch, 4:8, sequence, 8:1]');
  expect(stdout).toContain("values   '/m/model/layers.0/self_attn/Reshape_6_output_0'");
});

test('--json is the Inspection of the library', () => {
  const run = diffx(['inspect', LLAMA, '--json'], '/');
  const { schemaVersion, command, warnings, ...rest } = documentOf(run);
  expect({ schemaVersion, command, warnings }).toEqual({
    schemaVersion: 1,
    command: 'inspect',
    warnings: [],
  });
  expect(rest).toEqual(JSON.parse(JSON.stringify(inspectModel(LLAMA))));
});

test('a failure is a document as well', () => {
  const run = diffx(['inspect', 'none.onnx', '--json'], workFolder());
  expect(run.code).toBe(2);
  expect(documentOf(run)).toMatchObject({
    command: 'inspect',
    error: { code: 'file-not-found', exitCode: 2 },
  });
});

test('candidates that are not understood come with the reason and the node', () => {
  const { model } = openExport('gpt2-dec-ts17-sdpa+ortextended');
  const { stdout, code } = diffx(['inspect', model], '/');
  expect(code).toBe(0);
  const { notUnderstood } = inspectModel(model);
  for (const { anchor, code: reason, node, wanted, found } of notUnderstood) {
    for (const part of [anchor, reason, node, wanted, found]) expect(stdout).toContain(part);
  }
});

describe('a model that diffx rewrote', () => {
  const folder = workFolder();
  diffx(['rewrite', 'model.onnx', '-q', '--layers', '1', '--init', 'preserve'], folder);
  const file = path.join(folder, 'model.diff.onnx');

  test('shows how, and lambda of each layer', () => {
    const { stdout } = diffx(['inspect', file], '/');
    expect(stdout).toMatch(/1 differential attention, by diffx \d/);
    expect(stdout).toContain('Preset axolotl: duplicate heads, init preserve, no sublayer norm, seed 0');
    expect(stdout).toMatch(/Source SHA-256 [0-9a-f]{64}/);
    // under preserve, lambda begins at lambda_init
    expect(stdout).toMatch(/ 1 {2}m\.model\.layers\.1\.self_attn .* 0\.3555 +0\.3555 /);
  });

  test('counts what is left among the layers of the original', () => {
    const { attentions, differential, notUnderstood } = inspectModel(file);
    expect(attentions.map(({ path: name, depth }) => [name, depth])).toEqual([
      ['m.model.layers.0.self_attn', 0],
    ]);
    expect(notUnderstood).toEqual([]);
    if (differential?.by !== 'diffx') throw new Error('not by diffx');
    const [layer] = differential.layers;
    expect(layer).toMatchObject({ depth: 1, heads: 4, kvHeads: 2, epsilon: null });
    expect(layer?.lambdaInit).toBeCloseTo(lambdaInitOfDepth(1), 6);
    expect(layer?.lambda).toBeCloseTo(lambdaInitOfDepth(1), 6);
  });
});

test.each([
  ['llama-dec-ts17-sdpa', 2],
  ['bert-enc-dy23-sdpa', 2],
  ['llama-merged-if-ts17', 4],
])('%s: the softmaxes of rewritten attentions are not shown as attentions', (name, layers) => {
  for (const options of [
    [],
    ['--emit', 'inline'],
    ['--split-heads'],
    ['--split-heads', '--emit', 'inline'],
  ]) {
    const folder = workFolder(openExport(name).model);
    diffx(['rewrite', 'model.onnx', '-q', ...options], folder);
    const { attentions, notUnderstood, differential } = inspectModel(path.join(folder, 'model.diff.onnx'));
    expect([attentions, notUnderstood]).toEqual([[], []]);
    expect(differential?.by === 'diffx' && differential.layers).toHaveLength(layers);
  }
});

test('a model that is differential without diffx says so', () => {
  const { model } = openExport('diffllama-dec-dy18-eager');
  const { stdout } = diffx(['inspect', model], '/');
  expect(stdout).toMatch(/A differential transformer already, not by diffx: node '.+' subtracts/);
  expect(inspectModel(model).differential).toMatchObject({ by: 'model' });
});
