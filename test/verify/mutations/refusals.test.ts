/** Models so damaged that nothing runs: a failed check or one clear error, never anything else. */
import * as fs from 'node:fs';
import { verifyModels } from '../../../src/api/verify';
import { DiffxError } from '../../../src/errors';
import { setInt } from '../support/draft';
import { models, type Rewritten, type Subject, subjectOf } from '../support/mutation';
import { checkOf, findingsOf } from '../support/pairs';

const { scores, scoresInline, probabilities, split, outputs } = models;

const refused: [string, Rewritten, (subject: Subject) => void][] = [
  ['a function that is not there', scores, ({ draft }) => void draft.functions.pop()],
  [
    'an operator that does not exist',
    scoresInline,
    ({ draft, second }) => {
      draft.part('map', second.path).opType = 'Subtract';
    },
  ],
  [
    'a weight that does not fit',
    probabilities,
    ({ draft, first: { path } }) =>
      draft.addInitializer(
        `${path}.q2_proj.weight`,
        `${path}.q2_proj.weight`,
        [16, 32],
        new Uint8Array(2048),
      ),
  ],
  [
    'a weight of another element type',
    outputs,
    ({ draft, first: { path } }) => {
      const name = `${path}.q2_proj.weight`;
      const tensor = draft.initializers.get(name);
      if (tensor) draft.initializers.set(name, { ...tensor, dataType: 6 });
    },
  ],
  [
    'an axis that does not exist',
    split,
    ({ draft, first }) => setInt(draft.node(`${first.path}/Split`), 'axis', 9),
  ],
  [
    'an input under another name',
    probabilities,
    ({ draft }) => {
      draft.inputs = draft.inputs.map((input) =>
        input.name === 'input_ids' ? { ...input, name: 'ids' } : input,
      );
      draft.redirect('input_ids', 'ids');
    },
  ],
];

test.each(refused)('%s fails the check of the layers, with the reason', async (_, model, damage) => {
  const subject = subjectOf(model);
  damage(subject);
  const report = await verifyModels(subject.pair.original, subject.draft.write());
  expect(report.passed).toBe(false);
  expect(checkOf(report, 'layers').findings.length).toBeGreaterThan(0);
  expect(checkOf(report, 'layers').findings[0]?.message).toMatch(
    /ONNX Runtime refuses it|has no (tensor|input)/,
  );
  expect(report.notVerified).toContain('the layers: the rewritten model does not run');
  // At most once for each level of optimization, however many inputs there are.
  const refused = findingsOf(report).filter((line) => line.startsWith('layers'));
  expect(refused).toHaveLength(new Set(refused).size);
  expect(refused.length).toBeLessThanOrEqual(2);
});

const unreadable: [string, (subject: Subject) => void][] = [
  ['a node that reads nothing', ({ draft, first }) => (draft.node(first.node).input[0] = 'nothing')],
  ['a node in a circle', ({ draft, first }) => (draft.node(first.node).input[0] = first.output)],
  ['metadata that is gone', ({ draft }) => draft.metadata.clear()],
];

test.each(unreadable)('%s is one clear error', async (_, damage) => {
  const subject = subjectOf(scores);
  damage(subject);
  const file = subject.draft.write();
  await expect(verifyModels(subject.pair.original, file)).rejects.toThrow(DiffxError);
});

test('a rewritten file that was cut off is one clear error', async () => {
  const { pair, draft } = subjectOf(scores);
  const file = draft.write();
  fs.truncateSync(file, fs.statSync(file).size - 100);
  await expect(verifyModels(pair.original, file)).rejects.toThrow(DiffxError);
});

test.each([...Object.values(models)])('undamaged, $name $settings passes', async (each) => {
  const { pair, draft } = subjectOf(each);
  const report = await verifyModels(pair.original, draft.write());
  expect(findingsOf(report)).toEqual([]);
  expect(report.passed).toBe(true);
});
