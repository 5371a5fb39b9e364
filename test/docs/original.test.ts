/** Every option of the original converter and its plugin is in the README, with a test that exists. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { codeIn, ROOT, readDocument, tableOf } from './markdown';

/**
 * ConvertDiffTransformerCliArgs and do_cli, the keys that convert_diff_transformer writes, and the keys of
 * DifferentialTransformerPlugin, in axolotl-ai-cloud/diff-transformer.
 */
const ORIGINAL = [
  ...['config', 'base_model', 'output_dir'],
  ...['--zero-init', '--mirror-weights', '--split-heads', '--sublayer-norm', '--debug'],
  ...['diff_attention', 'plugins'],
  ...['diff_attn_log_every', 'diff_attn_num_monitor_layers', 'diff_attn_warmup_steps'],
];

const rows = tableOf(readDocument('README.md'), 'original').map(([original = '', here = '', proof = '']) => {
  const [file = ''] = codeIn(proof);
  return {
    original: codeIn(original)[0] ?? '',
    here,
    file,
    title: proof.slice(proof.indexOf(': ') + 2).trim(),
  };
});

test('every option is there', () => {
  expect(rows.map(({ original }) => original)).toEqual(ORIGINAL);
  expect(rows.filter(({ here }) => here === '')).toEqual([]);
});

test.each(rows)('$original: $title', ({ file, title }) => {
  expect(title.length).toBeGreaterThan(5);
  const text = fs.readFileSync(path.join(ROOT, file), 'utf8');
  // In the name of a test: a string that it stands in, from the quote on.
  const quoted = title.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  expect(text).toMatch(new RegExp(`['"\`][^'"\`\n]*${quoted}`));
});

test('its options are options of diffx', () => {
  const rewrite = tableOf(readDocument('README.md'), '`diffx rewrite`').flatMap(([option = '']) =>
    codeIn(option),
  );
  const names = rewrite.map((option) => option.split(' ')[0]);
  for (const option of ORIGINAL.filter((each) => each.startsWith('--'))) expect(names).toContain(option);
});
