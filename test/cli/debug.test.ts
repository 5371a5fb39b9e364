/** `diffx rewrite --debug`. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { diffx, documentOf, filesIn, LLAMA, workFolder } from './run-cli';

const LINES = (match: string) => [
  /^Before: 587 nodes, 24,736 parameters, 192 kB, 2 attentions, one run in [\d.]+ ms$/,
  /^After: {2}\d+ nodes, [\d,]+ parameters, [\d.]+ kB, 2 differential attentions, one run in [\d.]+ ms$/,
  new RegExp(`^Results ${match}, for inputs of batch 1, length 8:$`),
  /^ {2}logits: (no )?match, largest difference \d/,
  new RegExp(`^Generations ${match}, greedily from tokens \\d+ \\d+ \\d+ \\d+:$`),
  /^ {2}before {2}(\d+ ){19}\d+$/,
  /^ {2}after {3}(\d+ ){19}\d+$/,
];

test.each<[string[], string, RegExp]>([
  [['--init', 'preserve'], 'match', /^A match was to be expected: --init preserve without a norm keeps/],
  [['--split-heads', '--seed', '3'], 'do not match', /^A mismatch was to be expected: split heads change/],
])('shows both models side by side: %j', (options, match, verdict) => {
  const run = diffx(['rewrite', 'model.onnx', '--debug', ...options], workFolder());
  expect(run.code).toBe(0);
  const lines = run.stdout.trimEnd().split('\n').slice(-8);
  for (const [index, pattern] of [...LINES(match), verdict].entries()) expect(lines[index]).toMatch(pattern);
});

test('as JSON', () => {
  const folder = workFolder();
  const { debug } = documentOf(diffx(['rewrite', 'model.onnx', '--debug', '--json'], folder));
  expect(debug).toMatchObject({
    before: { nodes: 587, attentions: 2, milliseconds: expect.any(Number) },
    after: { attentions: 2, bytes: fs.statSync(path.join(folder, 'model.diff.onnx')).size },
    match: false,
    matchExpected: false,
    decoding: { match: false, before: expect.any(Array), after: expect.any(Array), cached: [false, false] },
  });
  expect(documentOf(diffx(['rewrite', 'model.onnx', '--json', '-f'], folder))['debug']).toBeUndefined();
});

test('over the input itself, and to standard output', () => {
  const folder = workFolder();
  const over = diffx(
    ['rewrite', 'model.onnx', '--debug', '--init', 'preserve', '-o', 'model.onnx', '-f'],
    folder,
  );
  expect(over.stdout).toMatch(/\nA match was to be expected: .*\n$/);
  fs.copyFileSync(LLAMA, path.join(folder, 'model.onnx'));
  const out = diffx(['rewrite', 'model.onnx', '--debug', '--init', 'preserve', '-o', '-'], folder);
  expect(out.code).toBe(0);
  expect(out.stderr).toMatch(/\nA match was to be expected: .*\n$/);
  expect(filesIn(folder)).toEqual(['model.onnx']);
});

test('an error still has its stack', () => {
  const run = diffx(['rewrite', 'no.onnx', '--debug'], workFolder());
  expect(run.code).toBe(2);
  expect(run.stderr).toMatch(/^error: no\.onnx: no such file\nhint: .*\n.*\n {4}at /);
});
