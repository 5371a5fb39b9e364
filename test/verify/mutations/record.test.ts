import { verifyModels } from '../../../src/api/verify';
import { METADATA } from '../../../src/attention/record';
import type { Draft } from '../support/draft';
import { models, subjectOf, testMutations } from '../support/mutation';
import { failedChecks, findingsOf } from '../support/pairs';

const { scores, probabilities, outputs, splitInline } = models;

type Entry = Record<string, unknown>;

function editLayers(draft: Draft, edit: (first: Entry, second: Entry) => Entry[]): void {
  const [first, second] = JSON.parse(draft.metadata.get(METADATA.layers) ?? '');
  draft.metadata.set(METADATA.layers, JSON.stringify(edit(first, second)));
}

function editOptions(draft: Draft, options: Entry): void {
  const given = JSON.parse(draft.metadata.get(METADATA.options) ?? '');
  draft.metadata.set(METADATA.options, JSON.stringify({ ...given, ...options }));
}

testMutations([
  {
    title: 'a layer that the metadata no longer names',
    models: [scores, splitInline],
    damage: ({ draft }) => editLayers(draft, (first) => [first]),
    check: 'record',
    layer: 'second',
    says: /should be rewritten by the recorded options, and is not/,
  },
  {
    title: 'metadata that names other heads',
    models: [probabilities],
    damage: ({ draft }) => editLayers(draft, (first, second) => [{ ...first, kvHeads: 4 }, second]),
    check: 'record',
    layer: 'first',
    says: /kvHeads is 2, the record says 4/,
  },
  {
    title: 'metadata that names another depth',
    models: [probabilities],
    damage: ({ draft }) => editLayers(draft, (first, second) => [first, { ...second, depth: 7 }]),
    check: 'record',
    layer: 'second',
  },
  {
    title: 'metadata that names nothing to start from',
    models: [probabilities],
    damage: ({ draft }) => editLayers(draft, (first, second) => [{ ...first, start: {} }, second]),
    check: 'record',
    layer: 'first',
    says: /layer 0 cannot be read/,
  },
  {
    title: 'metadata that names other values to start from',
    models: [scores, outputs],
    damage: ({ draft }) =>
      editLayers(draft, (first, second) => [first, { ...second, start: first['start'] }]),
    check: 'layers',
    layer: 'second',
  },
  {
    title: 'metadata that names another epsilon',
    models: [probabilities],
    damage: ({ draft }) => editLayers(draft, (first, second) => [first, { ...second, epsilon: 1e-5 }]),
    check: 'layers',
    layer: 'second',
  },
  {
    title: 'metadata that speaks of another init',
    models: [scores],
    damage: ({ draft }) => editOptions(draft, { init: 'mirror' }),
    check: 'parameters',
    layer: 'first',
  },
  {
    title: 'metadata that names another source',
    models: [outputs],
    damage: ({ draft }) => draft.metadata.set(METADATA.source, 'ab'.repeat(32)),
    check: 'record',
  },
]);

test('another original is told from the right one before anything is run', async () => {
  const { pair } = subjectOf(scores);
  const other = subjectOf(outputs).pair.original;
  const report = await verifyModels(other, pair.rewritten);
  expect(failedChecks(report)).toEqual(['record']);
  expect(findingsOf(report)[0]).toMatch(/it was made from a model with SHA-256/);
  expect(report.cases).toEqual([]);
  expect(report.notVerified).toEqual(['neither model was looked at: the record is not true of the original']);
});
