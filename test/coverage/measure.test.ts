/** The measurements behind `npm run coverage:models`: what they say of good exports, and that they see bad ones. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { rewriteModel } from '../../src/api/rewrite';
import { ATTENTION, line, variant } from '../support/attention-text';
import { openExport, temporaryFolder } from '../support/fixtures';
import { textBytes } from '../support/models';
import { faultsOf, readRefusals } from './expected';
import { measure, type Rewrite } from './measure';
import { printed, totalsOf } from './print';
import type { ExportResult } from './result';
import { sourcesIn } from './sources';

const LLAMA = 'llama-dec-ts17-sdpa';

/** A folder with one model in text form. */
function folderWith(name: string, text: string): string {
  const folder = fs.mkdtempSync(path.join(temporaryFolder(), 'coverage-'));
  fs.writeFileSync(path.join(folder, `${name}.onnx`), textBytes(text));
  return folder;
}

async function measured(name: string, text: string): Promise<ExportResult> {
  const [source] = sourcesIn([folderWith(name, text)]);
  return measure(source ?? { name });
}

function faults(result: ExportResult): string[] {
  return faultsOf(result, readRefusals([]));
}

test('an export that is right', async () => {
  const result = await measure({ name: LLAMA });
  expect(faults(result)).toEqual([]);
  const kept = { outcome: 'verified', rewritten: 2, error: expect.any(Number) };
  expect(result).toMatchObject({
    candidates: 2,
    found: 2,
    modes: { zero: kept, preserve: kept, split: { outcome: 'verified', rewritten: 2 } },
    references: ['mirror-nonorm', 'split-nonorm', 'split-norm'].map((kind) => ({ kind, passed: true })),
  });
});

test('a model without stored inputs runs on some that are made', async () => {
  const result = await measured('mine', ATTENTION);
  expect(faults(result)).toEqual([]);
  expect(result.modes).toMatchObject({ zero: { outcome: 'verified' }, split: { outcome: 'verified' } });
});

test('a rewrite that does not keep the outputs is wrong', async () => {
  const careless: Rewrite = (model, settings) => rewriteModel(model, { ...settings, init: 'random' });
  const result = await measure({ name: LLAMA }, careless);
  expect(result.modes).toMatchObject({
    zero: { outcome: 'wrong', rewritten: 2, detail: expect.stringContaining("output 'logits'") },
    preserve: { outcome: 'wrong' },
  });
  expect(result.references).toContainEqual(expect.objectContaining({ kind: 'mirror-nonorm', passed: false }));
  expect(faults(result).join('\n')).toMatch(
    /^zero: wrong: .*\npreserve: wrong: .*\nreference mirror-nonorm: /,
  );
});

test('split heads that are not those of this model are wrong', async () => {
  const other = openExport('llama-dec-ts14-eager').model;
  const mistaken: Rewrite = (model, settings) => rewriteModel(settings?.splitHeads ? other : model, settings);
  const { modes } = await measure({ name: LLAMA }, mistaken);
  expect(modes).toMatchObject({ zero: { outcome: 'verified' }, split: { outcome: 'wrong' } });
});

test('an error inside is neither right nor a refusal', async () => {
  const clumsy: Rewrite = () => {
    throw new TypeError('not a function');
  };
  const result = await measure({ name: LLAMA }, clumsy);
  expect(result.modes.zero).toMatchObject({
    outcome: 'broken',
    detail: expect.stringContaining('TypeError'),
  });
  expect(faults(result)).not.toEqual([]);
});

describe('an attention that is not understood', () => {
  const text = variant(ATTENTION, [['Softmax <axis = -1>', 'Softmax <axis = 1>']]);

  test('is refused with its code, which is a fault', async () => {
    const result = await measured('mine', text);
    expect(result).toMatchObject({ candidates: 1, found: 0 });
    expect(result.modes.zero).toMatchObject({ outcome: 'refused', code: 'softmax-axis', rewritten: 0 });
    expect(faults(result)).toHaveLength(3);
  });

  test('is none where the folder knows of it', async () => {
    const folder = folderWith('mine', text);
    const known = { export: 'm*e', code: 'softmax-axis', why: 'to show it' };
    const write = (refusal: object) =>
      fs.writeFileSync(path.join(folder, 'refusals.json'), JSON.stringify([refusal]));
    const [source] = sourcesIn([folder]);
    const result = await measure(source ?? { name: '' });
    write(known);
    expect(faultsOf(result, readRefusals([folder]))).toEqual([]);
    write({ ...known, split: 'odd-heads' });
    expect(faultsOf(result, readRefusals([folder]))).toEqual([expect.stringMatching(/^split: refused/)]);
    write({ ...known, export: 'my*' });
    expect(faultsOf(result, readRefusals([folder]))).toHaveLength(3);
  });
});

test('a model that does not run is a fault', async () => {
  const text = variant(ATTENTION, [[line('q_split'), '["q_split"] q_BSHD = Reshape (q, merged)']]);
  const result = await measured('mine', text);
  expect(result.unusable).toContain('mine.onnx');
  expect(faults(result)).toEqual([expect.stringMatching(/^does not run: /)]);
});

test('attentions that the source has and nobody counted are a fault', async () => {
  const result = await measure({ name: LLAMA });
  expect(faults({ ...result, calls: 2 })).toEqual([]);
  expect(faults({ ...result, calls: 3 })).toEqual(['3 attentions in the source, 2 counted']);
});

test('the table has a line for each export, its faults, and the totals', async () => {
  const results = await Promise.all([
    measured('mine', ATTENTION),
    measured('yours', variant(ATTENTION, [['axis = -1', 'axis = 1']])),
  ]);
  const judged = results.map((result) => ({ ...result, faults: faults(result) }));
  const totals = totalsOf(judged);
  expect(totals).toMatchObject({ exports: 2, candidates: 2, found: 1, faulty: 1 });
  expect(totals.modes.split).toEqual({ rewritten: 1, verified: 1, refused: { 'softmax-axis': 1 } });
  const lines = printed(judged, totals, false).map((each) => each.trim().replace(/ {2,}/g, ' | '));
  expect(lines).toEqual([
    'export | found | zero | preserve | split | references',
    expect.stringMatching(/^mine \| 1 of 1 \| 1 \de[-+]\d \| 1 \de[-+]\d \| 1 \| -$/),
    'yours | 0 of 1 | softmax-axis | softmax-axis | softmax-axis | -',
    '',
    ...['zero', 'preserve', 'split'].map((mode) => expect.stringContaining(`yours: ${mode}: refused: `)),
    '',
    '2 exports: 1 of 2 attentions found',
    ...['zero', 'preserve', 'split'].map(
      (mode) => `${mode}: 1 rewritten, 1 export verified, 1 refused: softmax-axis`,
    ),
    'references: 0 of 0 equal',
    '1 export is neither right nor refused for a known reason',
  ]);
  expect(printed(judged, totals, true).join('\n')).not.toContain('mine');
});
