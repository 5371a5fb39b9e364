/** docs/coverage.md is what the recorded results say, and these are what the exports give. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { testRewritten } from './check-fixtures';
import { DOCUMENT, documentOf, summaryOf } from './document';
import { readRefusals } from './expected';
import { parseName } from './name';
import { readRecorded } from './recorded';
import { fixtures } from './sources';

const results = readRecorded();

test('the document is made of the recorded results', () => {
  expect(fs.readFileSync(DOCUMENT, 'utf8')).toBe(documentOf(results));
});

test('the README says the same numbers', () => {
  const numbers = summaryOf(results);
  const text = fs
    .readFileSync(path.join(path.dirname(DOCUMENT), '../README.md'), 'utf8')
    .replace(/\s+/g, ' ');
  const says =
    /becomes of (\d+) bundled exports of (\d+) architectures by (\d+) ways .* in (\d+) of them .* in (\d+) with split heads too; (\d+) have no attention/;
  const names = [
    'exports',
    'architectures',
    'exporters',
    'rewritten and verified',
    'also with split heads',
    'without attention',
  ];
  expect(says.exec(text)?.slice(1).map(Number)).toEqual(names.map((name) => numbers[name]));
});

test('every fixture is recorded, and nothing else', () => {
  expect(results.map(({ name }) => name)).toEqual(fixtures().map(({ name }) => name));
});

test('there are the architectures and exporters that issue 3 aims for', () => {
  const { architectures, exporters } = summaryOf(results);
  expect(architectures).toBeGreaterThanOrEqual(40);
  expect(exporters).toBeGreaterThanOrEqual(6);
});

test('every known refusal says why, and is of a fixture', () => {
  for (const { export: pattern, why } of readRefusals([])) {
    expect(why).not.toBe('');
    const beginning = pattern.split('*')[0] ?? '';
    expect(results.filter(({ name }) => name.startsWith(beginning))).not.toEqual([]);
  }
});

test('an export that gives something else changes the document', () => {
  const [first, ...rest] = results;
  if (!first) throw new Error('nothing is recorded');
  const changed = { ...first, modes: { ...first.modes, split: 'odd-heads' } };
  expect(documentOf([changed, ...rest])).not.toBe(documentOf(results));
});

test.each([
  ['llama-dec-ts17-sdpa+fp16', 'llama-dec', 'PyTorch, TorchScript', '17 sdpa fp16'],
  ['llama-merged-if-ts17', 'llama-merged', 'PyTorch, TorchScript', 'if 17'],
  ['ms-mha', 'ms-mha', 'by hand', ''],
  ['optimum_t5-merged', 'optimum_t5-merged', 'Optimum', ''],
  ['lora-custom-ts17', 'lora-custom', 'PyTorch, TorchScript', '17'],
])('%s', (name, model, exporter, form) => {
  expect(parseName(name)).toEqual({ name, model, exporter, form });
});

describe('fixtures that other tests run', () => {
  testRewritten(fixtures().filter(({ kind }) => kind !== 'wide'));
});
