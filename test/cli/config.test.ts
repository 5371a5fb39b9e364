/** `--config`, and diffx.config files in the working directory. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { parse } from 'yaml';
import { readRecord } from '../../src/attention/record';
import { PLUGIN } from '../../src/config';
import { load } from '../../src/ir';
import { readModel } from '../../src/onnx';
import { diffx, documentOf, expectFailure, filesIn, LLAMA, workFolder } from './run-cli';

const put = (folder: string, name: string, text: string) => {
  fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
  fs.writeFileSync(path.join(folder, name), text);
};
const text = (folder: string, name: string) => fs.readFileSync(path.join(folder, name), 'utf8');

/** The options that a model was rewritten with. */
function optionsOf(folder: string, model: string) {
  return readRecord(load(readModel(path.join(folder, model))))?.options;
}

/** The configuration of a user of the original converter. */
const CONFIG = `# Llama, small
base_model: base
output_dir: ./runs/diff   # new every time

datasets:
  - path: tatsu-lab/alpaca   # more later
    type: alpaca
split_heads: false
zero_init: true
sublayer_norm: false
seed: 42
`;

/** A folder with that configuration and the folder of its model. */
function configured(config = CONFIG): string {
  const folder = workFolder(null);
  put(folder, 'config.yml', config);
  fs.mkdirSync(path.join(folder, 'base'));
  fs.copyFileSync(LLAMA, path.join(folder, 'base/model.onnx'));
  return folder;
}

describe('--config', () => {
  const folder = configured();
  const run = diffx(['rewrite', '--config', 'config.yml', '--verify'], folder);

  test('rewrites the model of the file as the file says', () => {
    expect([run.code, run.stderr.replace(/^warning: zero init .*\n$/, '')]).toEqual([0, '']);
    expect(optionsOf(folder, 'runs/diff/model.onnx')).toMatchObject({
      ...{ preset: 'axolotl', heads: 'duplicate', init: 'zero', sublayerNorm: false, seed: 0 },
    });
  });

  test('the output folder gets the model and the updated configuration', () => {
    expect(filesIn(path.join(folder, 'runs/diff'))).toEqual(['axolotl_config.yml', 'model.onnx']);
    expect(run.stdout).toContain('Wrote runs/diff/model.onnx');
    expect(run.stdout).toContain('Wrote runs/diff/axolotl_config.yml');
    const updated = text(folder, 'runs/diff/axolotl_config.yml');
    expect(updated).toBe(
      `${CONFIG.replace('base_model: base', 'base_model: ./runs/diff')}diff_attention: true\nplugins:\n  - ${PLUGIN}\n`,
    );
    expect(parse(updated)).toMatchObject({
      base_model: './runs/diff',
      diff_attention: true,
      plugins: [PLUGIN],
    });
  });

  test('a second time nothing is overwritten, but with --force', () => {
    const files = ['axolotl_config.yml', 'model.onnx'];
    const again = diffx(['rewrite', '--config', 'config.yml'], folder);
    const runs = path.join(folder, 'runs/diff');
    expectFailure(again, { exit: 2, says: /runs\/diff\/model\.onnx: exists already/ }, runs, files);
    expect(diffx(['rewrite', '--config', 'config.yml', '-f', '-q'], folder).code).toBe(0);
  });

  test('the model of the updated configuration is found, and is differential already', () => {
    const args = ['rewrite', '--config', 'runs/diff/axolotl_config.yml', '--output-dir', 'again'];
    const says = /runs\/diff\/model\.onnx: is a differential transformer already/;
    expectFailure(diffx(args, folder), { exit: 2, says }, folder, ['base', 'config.yml', 'runs']);
  });
});

describe('the command line wins over the file', () => {
  test.each<[string[], object]>([
    [['--mirror-weights'], { init: 'mirror', sublayerNorm: false }],
    [['--init', 'preserve'], { init: 'preserve' }],
    [['--no-zero-init', '--sublayer-norm'], { init: 'random', sublayerNorm: true }],
    [['--no-zero-init', '--split-heads', '--seed', '3'], { heads: 'split', seed: 3 }],
  ])('%j', (args, options) => {
    const folder = configured();
    expect(diffx(['rewrite', '--config', 'config.yml', '-q', ...args], folder).code).toBe(0);
    expect(optionsOf(folder, 'runs/diff/model.onnx')).toMatchObject(options);
  });

  test('model and output too', () => {
    const folder = configured();
    fs.copyFileSync(LLAMA, path.join(folder, 'other.onnx'));
    const run = diffx(
      ['rewrite', 'other.onnx', '--config', 'config.yml', '-o', 'new.onnx', '--json'],
      folder,
    );
    expect(documentOf(run)).toMatchObject({
      input: 'other.onnx',
      output: 'new.onnx',
      config: 'axolotl_config.yml',
    });
    expect(filesIn(folder)).toEqual(['axolotl_config.yml', 'base', 'config.yml', 'new.onnx', 'other.onnx']);
    expect(parse(text(folder, 'axolotl_config.yml')).base_model).toBe('new.onnx');
  });

  test('a switch that the file sets is taken back', () => {
    const folder = configured(CONFIG.replace('split_heads: false\nzero_init: true', 'split_heads: true'));
    expect(diffx(['rewrite', '--config', 'config.yml', '-q', '--no-split-heads'], folder).code).toBe(0);
    expect(optionsOf(folder, 'runs/diff/model.onnx')?.heads).toBe('duplicate');
  });
});

describe('what is wrong with a file is said, and nothing is written', () => {
  const fails = (config: string, says: RegExp, args: readonly string[] = [], exit = 2) => {
    const folder = configured(config);
    const run = diffx(['rewrite', '--config', 'config.yml', ...args], folder);
    expectFailure(run, { exit, says }, folder, ['base', 'config.yml']);
  };

  test.each<[string, RegExp]>([
    ['base_model: base\nsplit-heads: true\n', /config\.yml:2: split-heads: no such key/],
    ['base_model: base\nzero_init: 1\n', /config\.yml:2: zero_init: expected true or false, found 1/],
    ['base_model: [\n', /config\.yml:\d+: /],
    [
      'base_model: base\nsplit_heads: true\nzero_init: true\n',
      /--split-heads and --zero-init exclude .* \(settings come from config\.yml as well\)/,
    ],
    [
      'base_model: base\nmirror_weights: true\nzero_init: true\n',
      /--zero-init and --mirror-weights exclude .* \(settings come from config\.yml as well\)/,
    ],
    ['base_model: NousResearch/Llama\n', /base_model NousResearch\/Llama: no such file or folder/],
    ['output_dir: out\n', /config\.yml: base_model is missing, and the command line names no model/],
    ['base_model: *base\n', /config\.yml: Unresolved alias/],
    ['base_model: .\n', /\.: holds no \.onnx file/],
    ['base_model: base\noutput_dir: config.yml/out\n', /config\.yml\/out\/model\.onnx: cannot be written/],
  ])('%j', (config, says) => fails(config, says));

  test('a file that is not there', () => {
    const folder = workFolder();
    const run = diffx(['rewrite', '--config', 'no.yml'], folder);
    expectFailure(run, { exit: 2, says: /no\.yml: no such file/ }, folder, ['model.onnx']);
  });

  test('two models in a folder, none of them model.onnx', () => {
    const folder = configured();
    fs.renameSync(path.join(folder, 'base/model.onnx'), path.join(folder, 'base/b.onnx'));
    fs.copyFileSync(LLAMA, path.join(folder, 'base/a.onnx'));
    const run = diffx(['rewrite', '--config', 'config.yml'], folder);
    const says = /base: holds 2 models and none is model\.onnx: a\.onnx, b\.onnx/;
    expectFailure(run, { exit: 2, says }, folder, ['base', 'config.yml']);
  });
});

test('an output folder that was made for a rewrite that fails is taken away', () => {
  const folder = configured();
  put(folder, 'no.safetensors', 'nothing');
  const args = ['rewrite', '--config', 'config.yml', '--save-weights', 'no/such/file.safetensors'];
  const says = /no\/such\/file\.safetensors: cannot be written/;
  expectFailure(diffx(args, folder), { exit: 2, says }, folder, ['base', 'config.yml', 'no.safetensors']);
});

test('warm-up steps without the input for them are warned of', () => {
  const folder = configured(`${CONFIG}diff_attn_warmup_steps: 100\ndiff_attn_log_every: 10\n`);
  const run = diffx(['rewrite', '--config', 'config.yml', '--init', 'preserve'], folder);
  expect(run.stderr).toMatch(/^warning: config\.yml: diff_attn_warmup_steps: .* --mix-input adds it.*\n$/);
  const mixed = diffx(
    ['rewrite', '--config', 'config.yml', '--init', 'preserve', '--mix-input', '-f'],
    folder,
  );
  expect([mixed.code, mixed.stderr]).toEqual([0, '']);
});

test('diffx monitor takes its steps from the updated configuration', () => {
  const folder = configured(
    `${CONFIG}diff_attn_warmup_steps: 4\ndiff_attn_log_every: 2\ndiff_attn_num_monitor_layers: 1\n`,
  );
  expect(diffx(['rewrite', '--config', 'config.yml', '-q', '--mix-input'], folder).code).toBe(0);
  const io = path.join(path.dirname(LLAMA), 'llama.io.safetensors');
  for (const n of [1, 2, 3, 4, 5]) fs.copyFileSync(io, path.join(folder, `b-${n}.safetensors`));
  const inputs = ['--inputs', 'b-*.safetensors', '--log-dir', 'logs', '-q'];
  const run = diffx(['monitor', '--config', 'runs/diff/axolotl_config.yml', ...inputs], folder);
  expect([run.code, run.stderr]).toEqual([0, '']);
  const lines = text(folder, 'logs/metrics.jsonl')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines.map((line) => [line.step, line['aggregate/diff_attn_mix']])).toEqual([
    [2, 0.25],
    [4, 0.75],
    [5, 1],
  ]);
  const layers = new Set(Object.keys(lines[0]).flatMap((key) => /^layer_\d+/.exec(key) ?? []));
  expect([...layers]).toEqual(['layer_0']);
});

describe('diffx.config in the working directory', () => {
  test('says how to rewrite, in JSON, and lists are lists', () => {
    const folder = workFolder();
    put(
      folder,
      'diffx.config.json',
      '{ "init": "mirror", "layers": [1], "sublayer_norm": false, "seed": 9 }',
    );
    expect(diffx(['rewrite', 'model.onnx', '-q'], folder).code).toBe(0);
    expect(optionsOf(folder, 'model.diff.onnx')).toMatchObject({ init: 'mirror', layers: '1', seed: 9 });
    expect(diffx(['rewrite', 'model.onnx', '-q', '-f', '--no-config'], folder).code).toBe(0);
    expect(optionsOf(folder, 'model.diff.onnx')).toMatchObject({ init: 'random', seed: 0 });
  });

  test('stands below --config, which stands below the command line', () => {
    const folder = configured();
    put(folder, 'diffx.config.yml', 'mirror_weights: true\nseed: 9\nmix_input: true\nforce: true\n');
    const args = ['rewrite', '--config', 'config.yml', '-q', '--no-mix-input'];
    expect(diffx(args, folder).code).toBe(0);
    expect(diffx(args, folder).code).toBe(0);
    expect(optionsOf(folder, 'runs/diff/model.onnx')).toMatchObject({
      init: 'zero',
      seed: 9,
      mixInput: false,
    });
  });

  test('says how to verify', () => {
    const folder = workFolder();
    expect(diffx(['rewrite', 'model.onnx', '-q', '--init', 'preserve'], folder).code).toBe(0);
    put(folder, 'diffx.config.yml', 'atol: 0\n');
    const verify = (...args: string[]) =>
      diffx(['verify', 'model.onnx', 'model.diff.onnx', '-q', ...args], folder);
    expect(verify().code).toBe(1);
    expect(verify('--atol', '1e-3').code).toBe(0);
  });

  test('an error in it is one of every command that reads it', () => {
    const folder = workFolder();
    put(folder, 'diffx.config.yml', 'sed: 1\n');
    const files = ['diffx.config.yml', 'model.onnx'];
    const failure = { exit: 2, says: /diffx\.config\.yml:1: sed: no such key/ };
    expectFailure(diffx(['rewrite', 'model.onnx'], folder), failure, folder, files);
    expectFailure(diffx(['verify', 'model.onnx', 'model.onnx'], folder), failure, folder, files);
  });
});
