/** `diffx rewrite`: what it writes, prints and refuses. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { load } from '../../src/ir';
import { parseText } from '../../src/ir/text';
import { readModel } from '../../src/onnx';
import { openExport, openGolden, randomFill } from '../support/fixtures';
import { textBytes } from '../support/models';
import { floatTensor, writeTensors } from '../support/run';
import { diffx, documentOf, expectFailure, filesIn, LLAMA, workFolder } from './run-cli';

const read = (folder: string, name: string) => fs.readFileSync(path.join(folder, name));

test('writes <model>.diff.onnx beside the input, says what it did, and warns of random weights', () => {
  const folder = workFolder();
  const run = diffx(['rewrite', path.join(folder, 'model.onnx')], '/');
  expect(run.code).toBe(0);
  expect(filesIn(folder)).toEqual(['model.diff.onnx', 'model.onnx']);
  expect(run.stdout).toContain('2 attentions found, 2 rewritten');
  expect(run.stdout).toMatch(/ 0 {2}m\.model\.layers\.0\.self_attn +4 +2 +8 +0\.\d+ +0\.2 +\w+/);
  expect(run.stdout).toContain('3,154 parameters added');
  expect(run.stdout).toMatch(/Wrote .*model\.diff\.onnx, 2\d\d kB, in /);
  expect(run.stderr).toMatch(/^warning: the new weights are random.*\n$/);
});

test('--quiet says nothing', () => {
  const folder = workFolder();
  const run = diffx(['rewrite', 'model.onnx', '--quiet'], folder);
  expect([run.code, run.stdout, run.stderr]).toEqual([0, '', '']);
  expect(filesIn(folder)).toContain('model.diff.onnx');
});

test('the same input, options and seed give the same bytes; another seed gives others', () => {
  const folder = workFolder();
  const write = (output: string, ...options: string[]) => {
    expect(diffx(['rewrite', 'model.onnx', '-q', '-o', output, ...options], folder).code).toBe(0);
    return read(folder, output);
  };
  const first = write('a.onnx');
  fs.utimesSync(path.join(folder, 'model.onnx'), 1, 1);
  expect(write('b.onnx').equals(first)).toBe(true);
  expect(write('c.onnx', '--seed', '0', '--init', 'random', '--verify').equals(first)).toBe(true);
  expect(write('d.onnx', '--seed', '1').equals(first)).toBe(false);
});

test('-o - gives the bytes of the file and nothing else; the words go to standard error', () => {
  const folder = workFolder();
  diffx(['rewrite', 'model.onnx', '-q'], folder);
  const bytes = read(folder, 'model.diff.onnx');
  const run = diffx(['rewrite', 'model.onnx', '-o', '-'], folder);
  expect(run.code).toBe(0);
  expect(run.output.equals(bytes)).toBe(true);
  expect(run.stderr).toContain('2 attentions found');
  const verified = diffx(['rewrite', 'model.onnx', '-q', '-o', '-', '--verify'], folder);
  expect(verified.output.equals(bytes)).toBe(true);
  expect(filesIn(folder)).toEqual(['model.diff.onnx', 'model.onnx']);
});

test('a side file is written under the name of the target, with --verify as well', () => {
  const { model } = openExport('llama-dec-ts17-sdpa+external');
  const [side = ''] = readModel(model).externalFiles;
  const folder = workFolder(model);
  fs.copyFileSync(path.join(path.dirname(model), side), path.join(folder, side));
  for (const options of [[], ['--verify', '--force']]) {
    expect(diffx(['rewrite', 'model.onnx', '-q', ...options], folder).code).toBe(0);
    expect(filesIn(folder)).toEqual([side, 'model.diff.onnx', 'model.diff.onnx.data', 'model.onnx'].sort());
  }
  fs.rmSync(path.join(folder, 'model.diff.onnx'));
  const run = diffx(['rewrite', 'model.onnx', '-q'], folder);
  expectFailure(run, { exit: 2, says: /model\.diff\.onnx\.data: exists already/ }, folder, filesIn(folder));
});

test('--force overwrites, also the input itself', () => {
  const folder = workFolder();
  expect(diffx(['rewrite', 'model.onnx', '-q', '-o', 'model.onnx', '--force'], folder).code).toBe(0);
  expect(read(folder, 'model.onnx').equals(fs.readFileSync(LLAMA))).toBe(false);
  expect(filesIn(folder)).toEqual(['model.onnx']);
});

describe('models that are differential already', () => {
  test('one that diffx wrote', () => {
    const folder = workFolder();
    diffx(['rewrite', 'model.onnx', '-q', '--emit', 'inline'], folder);
    const run = diffx(['rewrite', 'model.diff.onnx'], folder);
    const says = /model\.diff\.onnx: is a differential transformer already \(written by diffx/;
    expectFailure(run, { exit: 2, says }, folder, ['model.diff.onnx', 'model.onnx']);
  });

  test('DiffLlama', () => {
    const folder = workFolder(openExport('diffllama-dec-dy18-eager').model);
    const run = diffx(['rewrite', 'model.onnx'], folder);
    const says = /model\.onnx: is a differential transformer already/;
    expectFailure(run, { exit: 2, says }, folder, ['model.onnx']);
  });
});

test('--layers chooses layers', () => {
  const folder = workFolder();
  const run = diffx(['rewrite', 'model.onnx', '--layers', '1', '--json'], folder);
  const { layers, notChosen } = documentOf(run) as { layers: { path: string }[]; notChosen: string[] };
  expect(layers.map((layer) => layer.path)).toEqual(['m.model.layers.1.self_attn']);
  expect(notChosen).toEqual(['m.model.layers.0.self_attn']);
});

/** Two attentions, the second of which takes its queries from no linear layer. */
const PARTLY = `<ir_version: 8, opset_import: ["": 17]>
  partly (float[N, 5, 8] x) => (float[N, 5, 8] z)
    <float[8, 8] wq = {...}, float[8, 8] wk = {...}, float[8, 8] wv = {...}, int64[4] s = {0, 5, 2, 4}, int64[3] m = {0, 5, 8}>
  {
    q = MatMul(x, wq)  qs = Reshape(q, s)  qt = Transpose <perm = [0, 2, 1, 3]> (qs)
    k = MatMul(x, wk)  ks = Reshape(k, s)  kt = Transpose <perm = [0, 2, 3, 1]> (ks)
    v = MatMul(x, wv)  vs = Reshape(v, s)  vt = Transpose <perm = [0, 2, 1, 3]> (vs)
    scores = MatMul(qt, kt)
    [first] p = Softmax <axis = -1> (scores)
    c = MatMul(p, vt)  ct = Transpose <perm = [0, 2, 1, 3]> (c)  y = Reshape(ct, m)
    yt = Transpose <perm = [0, 2, 1]> (y)
    own = MatMul(y, yt)
    [second] r = Softmax <axis = -1> (own)
    z = MatMul(r, y)
  }`;

describe('attention that is not understood', () => {
  test('nothing is written, and each one is named with what was wanted and found', () => {
    const folder = workFolder(textBytes(PARTLY));
    const run = diffx(['rewrite', 'model.onnx'], folder);
    const says =
      /1 of 2 attentions not understood, nothing written: 'second': [a-z-]+( at '\w+')?: wanted .+, found .+/;
    expectFailure(run, { exit: 3, says }, folder, ['model.onnx']);
  });

  test('--allow-partial leaves it, with a warning', () => {
    const folder = workFolder(textBytes(PARTLY));
    const run = diffx(['rewrite', 'model.onnx', '--allow-partial', '--init', 'preserve'], folder);
    expect(run.code).toBe(0);
    expect(run.stdout).toContain('2 attentions found, 1 rewritten, 1 left as they are');
    expect(run.stderr).toMatch(/^warning: 1 not understood and left as they are: 'second' \(.*\)\n$/);
  });
});

describe('--weights', () => {
  const golden = openGolden('base-kv2/axolotl-trained');
  const LAMBDA = 'model.layers.0.self_attn.lambda_q1';

  /** One tensor of the model's, and two of nobody's. */
  function nearlyEmpty(folder: string): string {
    const file = path.join(folder, '..', `${path.basename(folder)}.safetensors`);
    const [lambda, other] = [floatTensor([8], new Float32Array(8)), floatTensor([1], new Float32Array(1))];
    writeTensors(file, { [LAMBDA]: lambda, 'input.input_ids': other, 'output.logits': other });
    return file;
  }

  test('fills the model, and says how much', () => {
    const folder = workFolder(golden.models.torchscript);
    const run = diffx(['rewrite', 'model.onnx', '--weights', golden.attention, '--verify'], folder);
    expect(run.code).toBe(0);
    expect(run.stdout).toMatch(
      /Weights of .*: \d+ tensors loaded, 0 new parameters initialised, 0 keys unused\nWrote/,
    );
    expect(run.stderr).not.toContain('random');
  });

  test('warns of keys that belong nowhere and of parameters that it lacks', () => {
    const folder = workFolder();
    const run = diffx(['rewrite', 'model.onnx', '--weights', nearlyEmpty(folder)], folder);
    expect(run.code).toBe(0);
    expect(run.stderr).toMatch(/warning: .*safetensors: 2 keys belong nowhere and are unused: '/);
    expect(run.stderr).toMatch(
      /warning: .*safetensors: 15 new parameters are not in it and keep --init random: '/,
    );
    expect(run.stdout).toMatch(/: 1 tensor loaded, 15 new parameters initialised, 2 keys unused\n/);
    expect(run.stdout).toMatch(/^ {2}initialised {2}m\.model\.layers\.0\.self_attn\.lambda_k1$/m);
    expect(run.stdout).toMatch(/^ {2}initialised {2}3 more: --json lists them$/m);
    expect(run.stdout).toMatch(/^ {2}unused {2}input\.input_ids$/m);
  });

  test('--json counts and lists all', () => {
    const folder = workFolder();
    const file = nearlyEmpty(folder);
    const run = diffx(['rewrite', 'model.onnx', '--weights', file, '--json'], folder);
    const { weights } = documentOf(run) as { weights: Record<string, unknown> };
    const { checkpoint, counts, loaded, initialised, unused } = weights;
    expect([checkpoint, counts]).toEqual([file, { loaded: 1, guessed: 0, initialised: 15, unused: 2 }]);
    expect(loaded).toEqual([expect.objectContaining({ key: LAMBDA })]);
    expect(initialised).toHaveLength(15);
    expect(unused).toEqual(['input.input_ids', 'output.logits']);
  });

  test('--strict-weights refuses it, and writes nothing', () => {
    const folder = workFolder();
    const run = diffx(
      ['rewrite', 'model.onnx', '--weights', nearlyEmpty(folder), '--strict-weights'],
      folder,
    );
    const says =
      /\.safetensors: does not fit the model exactly, nothing written: 15 new parameters .*keys belong/;
    expectFailure(run, { exit: 2, says }, folder, ['model.onnx']);
  });

  test('a checkpoint of which nothing fits is an error', () => {
    const folder = workFolder();
    const run = diffx(['rewrite', 'model.onnx', '--weights', golden.io], folder);
    const says = /io\.safetensors: nothing in it fits the model: its keys are 'input\.attention_mask'/;
    expectFailure(run, { exit: 2, says }, folder, ['model.onnx']);
  });

  test('--strict-weights is of no use without --weights', () => {
    const folder = workFolder();
    const run = diffx(['rewrite', 'model.onnx', '--strict-weights'], folder);
    expectFailure(run, { exit: 2, says: /--strict-weights needs --weights/ }, folder, ['model.onnx']);
  });
});

test('zero init warns that lambda cannot learn', () => {
  const folder = workFolder();
  const run = diffx(['rewrite', 'model.onnx', '--zero-init', '--no-sublayer-norm'], folder);
  expect(run.code).toBe(0);
  expect(run.stderr).toMatch(/^warning: zero init leaves lambda at a point with zero gradient.*\n$/);
});

describe('--dump-after', () => {
  const passes = ['lower', 'monitor', 'remove-dead-nodes', 'finish'];

  test('prints the model as text that parses, to standard error', () => {
    const folder = workFolder();
    const run = diffx(['rewrite', 'model.onnx', '-q', '--dump-after', 'finish'], folder);
    const graph = parseText(run.stderr, { fill: randomFill() }).graph;
    const written = load(readModel(path.join(folder, 'model.diff.onnx')));
    expect(graph?.node.length).toBe(written.graph.nodes.length);
  });

  test('prints to a folder: the passes named, or all', () => {
    const folder = workFolder();
    const some = ['--dump-after', 'lower', '--dump-after', 'finish', '--dump-dir', 'some'];
    expect(diffx(['rewrite', 'model.onnx', '-q', ...some], folder).stderr).toBe('');
    expect(filesIn(path.join(folder, 'some'))).toEqual(['1-lower.onnxtxt', '4-finish.onnxtxt']);
    diffx(['rewrite', 'model.onnx', '-q', '-f', '--dump-dir', 'all'], folder);
    expect(filesIn(path.join(folder, 'all'))).toEqual(passes.map((pass, at) => `${at + 1}-${pass}.onnxtxt`));
    for (const file of filesIn(path.join(folder, 'all'))) {
      const text = fs.readFileSync(path.join(folder, 'all', file), 'utf8');
      expect(parseText(text, { fill: randomFill() }).graph).toBeDefined();
    }
  });
});

describe('--verify', () => {
  test('proves what it writes', () => {
    const folder = workFolder();
    const run = diffx(['rewrite', 'model.onnx', '--init', 'preserve', '--verify', '--json'], folder);
    expect(run.code).toBe(0);
    const { verification } = documentOf(run) as { verification: { passed: boolean; keepsFunction: boolean } };
    expect(verification).toMatchObject({ passed: true, keepsFunction: true, rewritten: 'model.diff.onnx' });
    expect(filesIn(folder)).toEqual(['model.diff.onnx', 'model.onnx']);
  });

  test('what cannot be proven is not written', () => {
    // ONNX Runtime cannot run it: shapes do not fit, far from the attention.
    const wrong = PARTLY.replace('z = MatMul(r, y)', 'w = MatMul(r, y) z = Add(w, s)');
    const folder = workFolder(textBytes(wrong));
    const options = ['-q', '--allow-partial', '--verify'];
    const run = diffx(['rewrite', 'model.onnx', ...options], folder);
    expect(run.code).not.toBe(0);
    expect(run.stderr).toMatch(/^error: model\.onnx: ONNX Runtime refuses it/);
    expect(filesIn(folder)).toEqual(['model.onnx']);
  });
});

test('--json prints one document, on success and on failure', () => {
  const folder = workFolder();
  const done = documentOf(diffx(['rewrite', 'model.onnx', '--json'], folder));
  expect(done).toMatchObject({
    schemaVersion: 1,
    command: 'rewrite',
    input: 'model.onnx',
    output: 'model.diff.onnx',
    found: 2,
    parametersAdded: 3154,
    options: { preset: 'axolotl', heads: 'duplicate', init: 'random', seed: 0 },
    left: [],
    weights: null,
    verification: null,
    warnings: [expect.stringContaining('random')],
  });
  expect(done['bytes']).toBe(read(folder, 'model.diff.onnx').length);
  const failed = diffx(['rewrite', 'model.onnx', '--json'], folder);
  expect(failed.code).toBe(2);
  expect(documentOf(failed)).toEqual({
    schemaVersion: 1,
    command: 'rewrite',
    error: {
      code: 'exists',
      exitCode: 2,
      message: 'model.diff.onnx: exists already',
      remedy: expect.stringContaining('--force'),
    },
    warnings: [],
  });
  const unparsed = diffx(['rewrite', 'model.onnx', '--json', '--nonsense'], folder);
  expect(documentOf(unparsed)).toMatchObject({
    command: 'rewrite',
    error: { code: 'command-line', exitCode: 2 },
  });
});
