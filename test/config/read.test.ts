/** Reading configuration files: what is wrong is said with file, line and key. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { type ConfigFile, readConfig, readWorkingConfig } from '../../src/config';
import { temporaryFolder } from '../support/fixtures';
import { thrownBy } from '../support/models';

let folders = 0;

function folderWith(files: Readonly<Record<string, string>>): string {
  const folder = path.join(temporaryFolder(), `config-${folders++}`);
  fs.mkdirSync(folder);
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), text);
  return folder;
}

function read(text: string): ConfigFile {
  return readConfig(path.join(folderWith({ 'config.yml': text }), 'config.yml'), 'axolotl');
}

function working(text: string, name = 'diffx.config.yml'): ConfigFile | undefined {
  return readWorkingConfig(folderWith({ [name]: text }));
}

describe('a file of axolotl', () => {
  test('gives the settings of the original, and leaves the rest', () => {
    const { settings } = read(
      'base_model: ./model\nlearning_rate: 2e-5\noutput_dir: out\nzero_init: true\ndatasets:\n  - path: x\ndiff_attn_log_every: 10\nplugins:\n  - a.b\n',
    );
    expect(settings).toEqual({
      base_model: './model',
      output_dir: 'out',
      zero_init: true,
      diff_attn_log_every: 10,
      plugins: ['a.b'],
    });
  });

  test('yes and on are true, as axolotl reads them', () => {
    expect(read('split_heads: yes\nsublayer_norm: off\n').settings).toEqual({
      split_heads: true,
      sublayer_norm: false,
    });
  });

  test('a key without a value is not given', () => {
    expect(read('output_dir:\nplugins: ~\n').settings).toEqual({});
  });

  test('an empty file says nothing', () => {
    expect([read('').settings, read('# nothing\n').settings]).toEqual([{}, {}]);
  });

  test('its section diffx has what the original has no name for', () => {
    expect(read('seed: 42\ndiffx:\n  seed: 7\n  layers: [0, 2-3]\n').settings).toEqual({
      seed: 7,
      layers: [0, '2-3'],
    });
  });

  test.each([
    ['split-heads', 'split_heads'],
    ['splitHeads', 'split_heads'],
    ['mirror_weigths', 'mirror_weights'],
    ['plugin', 'plugins'],
    ['base_modle', 'base_model'],
    ['diff_attn_warmup', 'diff_attn_warmup_steps'],
  ])('%s is no key, and %s is suggested', (key, meant) => {
    const error = thrownBy(() => read(`# first\nlearning_rate: 1\n${key}: 1\n`));
    expect(error).toMatchObject({ code: 'config-key', exitCode: 2, remedy: `Did you mean ${meant}?` });
    expect(error.message).toMatch(new RegExp(`config\\.yml:3: ${key}: no such key$`));
  });

  test('keys of axolotl that look a little like ours are its own', () => {
    const keys = [
      'base_model_config',
      'flash_attention',
      'sdp_attention',
      'plugin_args',
      'seed',
      'warmup_steps',
    ];
    expect(read(keys.map((key) => `${key}: 1\n`).join('')).settings).toEqual({});
  });

  test('a key of differential attention that nobody has is an error without a suggestion', () => {
    const error = thrownBy(() => read('diff_attn_colour: red\n'));
    expect(error).toMatchObject({
      code: 'config-key',
      remedy: expect.stringMatching(/^Use one of base_model, /),
    });
  });

  test('a misspelt key in its section diffx', () => {
    const error = thrownBy(() => read('diffx:\n  seed: 1\n  prest: paper\n'));
    expect(error.message).toMatch(/config\.yml:3: diffx\.prest: no such key$/);
    expect(error.remedy).toBe('Did you mean preset?');
  });
});

describe('values', () => {
  test.each([
    ['split_heads: maybe', /:1: split_heads: expected true or false, found "maybe"$/],
    ['a: 1\nbase_model: 3', /:2: base_model: expected a text, found 3$/],
    ['base_model: ""', /:1: base_model: expected a text that is not empty, found ""$/],
    ['diff_attn_log_every: 0', /:1: diff_attn_log_every: expected a number from 1 on, found 0$/],
    ['diff_attn_warmup_steps: 1.5', /:1: diff_attn_warmup_steps: expected a whole number, found 1.5$/],
    ['plugins: a.b', /:1: plugins: expected a list, found "a.b"$/],
    ['plugins:\n  - a\n  - 3', /:1: plugins: expected a text, found 3$/],
    [
      '\n\ndiffx:\n  init: zeros',
      /:4: diffx\.init: expected one of random, zero, mirror, preserve, found "zeros"$/,
    ],
    ['diffx:\n  norm_eps: 2', /:2: diffx\.norm_eps: expected a number below 1, found 2$/],
    ['diffx: 3', /:1: diffx: expected keys and values, found 3$/],
  ])('%j', (text, message) => {
    const error = thrownBy(() => read(`${text}\n`));
    expect(error).toMatchObject({ code: 'config-value', exitCode: 2 });
    expect(error.message).toMatch(message);
  });
});

describe('files that cannot be read', () => {
  test.each([
    ['no YAML', 'a: [1,\nb: 2\n', /config\.yml:2: /],
    [
      'a key that is there twice',
      'base_model: a\nx: 1\nbase_model: b\n',
      /config\.yml:3: Map keys must be unique/,
    ],
    ['a list', '- a\n', /config\.yml:1: a list of keys and values is expected/],
  ])('%s', (_, text, message) => {
    const error = thrownBy(() => read(text));
    expect(error).toMatchObject({ code: 'config-syntax', exitCode: 2 });
    expect(error.message).toMatch(message);
  });

  test('a file that is not there', () => {
    expect(thrownBy(() => readConfig('/no/config.yml', 'axolotl'))).toMatchObject({
      code: 'config-not-found',
    });
  });

  test('JSON is read as JSON', () => {
    const error = thrownBy(() => working('{\n  "seed": 1,\n}\n', 'diffx.config.json'));
    expect(error.message).toMatch(/diffx\.config\.json:3: not valid JSON/);
  });
});

describe('the file of the working directory', () => {
  test.each(['diffx.config.json', 'diffx.config.yml', 'diffx.config.yaml'])('%s', (name) => {
    const text = '{\n"$schema": "x", "split_heads": true, "preset": "axolotl", "dump_after": ["lower"]}\n';
    expect(working(text, name)?.settings).toEqual({
      split_heads: true,
      preset: 'axolotl',
      dump_after: ['lower'],
    });
  });

  test('need not be there, but may not be there twice', () => {
    expect(readWorkingConfig(folderWith({}))).toBeUndefined();
    const both = folderWith({ 'diffx.config.json': '{}', 'diffx.config.yml': '' });
    expect(thrownBy(() => readWorkingConfig(both))).toMatchObject({ code: 'config-twice', exitCode: 2 });
  });

  test('has no keys but ours', () => {
    const error = thrownBy(() => working('seed: 1\nlearning_rate: 2\n'));
    expect(error.message).toMatch(/diffx\.config\.yml:2: learning_rate: no such key$/);
  });
});

describe('YAML that is no configuration', () => {
  const problem = (text: string) => thrownBy(() => read(text)).message.replace(/^.*config\.yml/, '');

  test.each([
    ['a: 1\na: 2\n', ':2: Map keys must be unique'],
    ['a: 1\n---\nb: 2\n', ':2: it holds several documents, and one is expected'],
    ['a: *nowhere\n', ': Unresolved alias (the anchor must be set before the alias): nowhere'],
    ['diffx: [a]\n', ':1: diffx: expected keys and values, found ["a"]'],
  ])('%j', (text, says) => {
    expect(problem(text)).toBe(says);
  });

  test('aliases of aliases of aliases', () => {
    const lists = ['b', 'c', 'd', 'e', 'f'].map(
      (name, index) => `${name}: &${name} [${`*${'abcde'[index]}, `.repeat(9)}]`,
    );
    const text = ['a: &a [x, x, x, x, x, x, x, x, x]', ...lists].join('\n');
    expect(thrownBy(() => read(text))).toMatchObject({ code: 'config-syntax', exitCode: 2 });
  });

  test('keys that are lists say nothing on standard error', () => {
    const warned = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    expect(read('? [a, b]\n: c\n').settings).toEqual({});
    expect(warned).not.toHaveBeenCalled();
    warned.mockRestore();
  });
});

describe('files of any size', () => {
  const SECONDS = 20_000;

  test(
    '20,000 keys that are nearly ours: the first of them is named',
    () => {
      const text = Array.from({ length: 20_000 }, (_, index) => `difft_attention_${index}: 1`).join('\n');
      expect(read(`${text}\n`).settings).toEqual({});
      const error = thrownBy(() => read(`${text}\nsplit_head: true\n`));
      expect(error).toMatchObject({ code: 'config-key', exitCode: 2 });
      expect(error.message).toMatch(/config\.yml:20001: split_head: no such key/);
    },
    SECONDS,
  );

  test('a key that is there twice among them', () => {
    const text = Array.from({ length: 20_000 }, (_, index) => `key_${index}: 1`).join('\n');
    const error = thrownBy(() => read(`${text}\nkey_17: 2\n`));
    expect(error.message).toMatch(/config\.yml:20001: Map keys must be unique/);
    const inside = thrownBy(() => read('a:\n  - {b: 1, b: 2}\n'));
    expect(inside.message).toMatch(/config\.yml:2: Map keys must be unique/);
  });

  test('merged keys may stand twice, as axolotl reads them', () => {
    const text = 'a: &a {x: 1}\nb: &b {y: 2}\nc:\n  <<: *a\n  <<: *b\nbase_model: m\n';
    expect(read(text).settings).toEqual({ base_model: 'm' });
  });

  test('a file that is no configuration any more is not read', () => {
    const error = thrownBy(() => read('# a comment\n'.repeat(100_000)));
    expect(error).toMatchObject({ code: 'config-too-large', exitCode: 2 });
    expect(error.message).toMatch(/has 1200000 bytes, and a configuration file may have 1048576$/);
  });

  test.each(['config.yml', 'config.json'])(
    'values that lie 200,000 deep in one another: %s',
    (name) => {
      const text = `{"base_model": ${'['.repeat(200_000)}${']'.repeat(200_000)}}`;
      const file = path.join(folderWith({ [name]: text }), name);
      expect(thrownBy(() => readConfig(file, 'axolotl'))).toMatchObject({
        code: 'config-syntax',
        exitCode: 2,
      });
    },
    SECONDS,
  );
});
