/** The updated configuration of a rewritten model: three values change, and no other byte. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { parse } from 'yaml';
import { PLUGIN, readConfig, updatedConfig } from '../../src/config';
import { temporaryFolder } from '../support/fixtures';

let files = 0;

function update(text: string, baseModel = 'out'): string {
  const file = path.join(temporaryFolder(), `update-${files++}.yml`);
  fs.writeFileSync(file, text);
  return updatedConfig(readConfig(file, 'axolotl'), baseModel);
}

const LONG = `# My run
base_model: ./llama   # small

# data
datasets:
- path:   "tatsu-lab/alpaca"
  type: alpaca
val_set_size: 0.050
learning_rate: 2e-5
max_steps: 1_000
bf16: yes
text: >
  folded
  text
diff_attn_warmup_steps: 100
plugins:
- axolotl.integrations.liger.LigerPlugin  # fast

special_tokens: {pad_token: "<|end|>"}
`;

test('a long one: comments, order and writing stay', () => {
  const lines = LONG.replace('./llama ', './runs/diff ').split('\n');
  const at = lines.findIndex((line) => line.startsWith('- axolotl.')) + 1;
  lines.splice(at, 0, `- ${PLUGIN}`);
  expect(update(LONG, './runs/diff')).toBe(`${lines.join('\n')}diff_attention: true\n`);
});

test('updated again, it is the same', () => {
  const once = update(LONG);
  expect(update(once)).toBe(once);
});

test('what is not there is appended', () => {
  expect(update('a: 1')).toBe(`a: 1\nbase_model: out\ndiff_attention: true\nplugins:\n  - ${PLUGIN}\n`);
});

test.each([
  ['a value', 'diff_attention: false # not yet\n', 'diff_attention: true # not yet\n'],
  ['no value', 'diff_attention:\n', 'diff_attention: true\n'],
])('diff_attention with %s becomes true', (_, text, expected) => {
  expect(update(text)).toContain(expected);
});

test.each([
  ['no value', 'plugins:\n', `plugins:\n  - ${PLUGIN}\n`],
  ['an empty list', 'plugins: []\n', `plugins: [${PLUGIN}]\n`],
  ['a list in brackets', 'plugins: [a.b, "c"] # x\n', `plugins: [a.b, "c", ${PLUGIN}] # x\n`],
  ['lines', 'plugins:\n    - a\n    - b', `plugins:\n    - a\n    - b\n    - ${PLUGIN}\n`],
  ['it', `plugins:\n- ${PLUGIN}\n- b\n`, `plugins:\n- ${PLUGIN}\n- b\n`],
])('plugins with %s', (_, text, expected) => {
  const updated = update(text);
  expect(updated).toContain(expected);
  expect(parse(updated).plugins.filter((name: string) => name === PLUGIN)).toHaveLength(1);
});

test('line ends are those of the file', () => {
  expect(update('base_model: a\r\nplugins:\r\n- b\r\n')).toBe(
    `base_model: out\r\nplugins:\r\n- b\r\n- ${PLUGIN}\r\ndiff_attention: true\r\n`,
  );
});

test('a path that YAML would read otherwise is quoted', () => {
  for (const name of ['no', '12', 'a: b', 'x #y', '', '- z', "it's"]) {
    expect(parse(update('base_model: a\n', name)).base_model).toBe(name);
  }
});

test.each([
  ['in braces', '{base_model: a, x: [1, 2]} # last\n'],
  ['that ends with a marker', 'base_model: a\nx: [1, 2]\n...\n'],
])('a file %s has the same meaning', (_, text) => {
  const updated = parse(update(text));
  expect(updated).toMatchObject({ base_model: 'out', diff_attention: true, plugins: [PLUGIN], x: [1, 2] });
});
