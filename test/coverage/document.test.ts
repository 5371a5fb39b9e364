/** docs/coverage.md is what the recorded results say, and these are what the exports give. */
import * as fs from 'node:fs';
import { testRewritten } from './check-fixtures';
import { DOCUMENT, documentOf, README, readmeWith, summaryOf } from './document';
import { readRefusals } from './expected';
import { parseName } from './name';
import { readRecorded } from './recorded';
import { fixtures } from './sources';

const results = readRecorded();

test('the document is made of the recorded results', () => {
  expect(fs.readFileSync(DOCUMENT, 'utf8')).toBe(documentOf(results));
});

test('the README says the same numbers', () => {
  const readme = fs.readFileSync(README, 'utf8');
  expect(readmeWith(readme, results)).toBe(readme);
  expect(readmeWith(readme, results.slice(1))).not.toBe(readme);
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
  ['latent-dy18', 'latent', 'PyTorch, dynamo', '18'],
  ['lora-custom-ts17', 'lora-custom', 'PyTorch, TorchScript', '17'],
])('%s', (name, model, exporter, form) => {
  expect(parseName(name)).toEqual({ name, model, exporter, form });
});

describe('fixtures that other tests run', () => {
  testRewritten(fixtures().filter(({ kind }) => kind !== 'wide'));
});
