/** Inputs that something was wrong with once, on the command line: see fixtures/cases/README.md. */
import * as path from 'node:path';
import { FIXTURES } from '../support/fixtures';
import { diffx, filesIn, workFolder } from './run-cli';

/** What a terminal obeys, hides or turns round. */
const RAW = /[\p{Cc}\p{Cf}]/u;

const caseOf = (name: string) => path.join(FIXTURES, 'cases', `${name}.onnx`);

describe('is rewritten and verified', () => {
  test.each<[name: string, options: readonly string[]]>([
    ['canine-dyn', ['--init', 'preserve']],
    ['fp32pv', []],
    ['fp32pv', ['--init', 'preserve', '--emit', 'inline']],
    ['fp32pv', ['--split-heads']],
    ['fp32pv', ['--preset', 'v2']],
    ['gptoss-ts', ['--init', 'preserve']],
    ['gqa_t', ['--init', 'preserve']],
    ['map_identity_before', ['--init', 'preserve']],
    ['map_identity_after', ['--split-heads']],
    ['nonpad_kv_seqlen', []],
    ['split_mask_b1qk', ['--split-heads']],
    ['talk-pre', ['--preset', 'v2']],
    ['tdec-ts', []],
    ['values_are_keys', ['--init', 'preserve']],
  ])('%s %j', (name, options) => {
    const folder = workFolder(null);
    const run = diffx(['rewrite', caseOf(name), '-o', 'out.onnx', '--verify', ...options], folder);
    expect([run.code, run.stderr.replace(/^warning: .*\n/gm, '')]).toEqual([0, '']);
    expect(filesIn(folder)).toEqual(['out.onnx']);
  });
});

test('gptoss-ts: what was left out is said, and why', () => {
  const args = ['rewrite', caseOf('gptoss-ts'), '-o', 'out.onnx', '--verify', '--init', 'preserve'];
  const { stdout } = diffx(args, workFolder(null));
  expect(stdout).toMatch(/^Not looked at: batch 1, length 1: the original itself does not run: .*experts/m);
});

describe('is refused with one line', () => {
  test.each<[name: string, args: (file: string) => string[], code: number, says: RegExp]>([
    ['uint32-weight', (file) => ['rewrite', file, '-o', 'out.onnx'], 3, /weights of type uint32/],
    ['negative_length', (file) => ['inspect', file], 2, /'zeros' is asked for a size of -1/],
    [
      'abort-split',
      (file) => ['rewrite', file, '-o', 'out.onnx', '--verify'],
      2,
      /ONNX Runtime does not survive it: .*SIGABRT/,
    ],
  ])('%s', (name, args, code, says) => {
    const folder = workFolder(null);
    const run = diffx(args(caseOf(name)), folder);
    expect(run.code).toBe(code);
    const [error = '', hint = '', ...more] = run.stderr.replace(/^warning: .*\n/gm, '').split('\n');
    expect(error).toMatch(says);
    expect([hint.startsWith('hint: '), more]).toEqual([true, ['']]);
    expect(filesIn(folder)).toEqual([]);
  });
});

test.each([
  ['doubling_constant', 1],
  ['repeat-graph20k', 2],
  ['gqa_t', 2],
])('%s is looked at, and ends: %d attentions', (name, count) => {
  const run = diffx(['inspect', caseOf(name), '--json'], workFolder(null));
  expect(run.code).toBe(0);
  expect(JSON.parse(run.stdout).attentions).toHaveLength(count);
});

test.each([
  [['rewrite', '-o', 'out.onnx', '--debug']],
  [['rewrite', '-o', 'out.onnx', '--dump-after', 'lower']],
  [['rewrite', '-o', 'out.onnx', '--allow-partial', '--json']],
  [['inspect', '--explain']],
])('evilbad: no code of its names reaches the terminal, %j', ([command = '', ...options]) => {
  const run = diffx([command, caseOf('evilbad'), ...options], workFolder(null));
  expect([0, 3]).toContain(run.code);
  expect(`${run.stdout}${run.stderr}`.replaceAll('\n', '').replaceAll('\t', '')).not.toMatch(RAW);
  expect(run.stdout + run.stderr).not.toBe('');
});
