/** Attention maps that others see beside the product with values: they are differential after a rewrite. */
import type { RewriteFileSettings } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { ATTENTION, line, variant } from '../support/attention-text';
import { modelPath, textBytes } from '../support/models';
import { Draft } from './support/draft';
import { checkOf, failedChecks, findingsOf, pairOfModel } from './support/pairs';

const withOutput = (output: string) =>
  variant(ATTENTION, [['=> (float[B, S, 8] y)', `=> (float[B, S, 8] y, ${output})`]]);
const behind = (text: string, node: string) =>
  variant(text, [[line('attended'), `${line('attended')}\n${node}`]]);

const texts = {
  'the map itself': withOutput('float[B, 2, S, S] A'),
  'a copy': behind(withOutput('float[B, h, S, S] map'), '["copy"] map = Identity (A)'),
  'its mean over the heads': behind(
    withOutput('float[B, S, S] mean'),
    '["average"] mean = ReduceMean <axes = [1], keepdims = 0> (A)',
  ),
};
const originals = Object.entries(texts).map(([what, text]) => [what, modelPath(textBytes(text))] as const);

const settings: RewriteFileSettings[] = [
  {},
  { emit: 'inline' },
  { splitHeads: true },
  { splitHeads: true, emit: 'inline' },
  { init: 'preserve' },
];

describe.each(originals)('%s', (_, original) => {
  test.each(settings)('%j', async (options) => {
    const { rewritten } = pairOfModel(original, options);
    const report = await verifyModels(original, rewritten);
    expect(findingsOf(report)).toEqual([]);
    expect(report.passed).toBe(true);
    expect(Object.keys(checkOf(report, 'layers').comparisons)).toContain('layers.0.attn: map');
  });

  test('under preserve, what shows the map is not compared with the original, and the report says so', async () => {
    const { rewritten } = pairOfModel(original, { init: 'preserve' });
    const report = await verifyModels(original, rewritten);
    expect(Object.keys(checkOf(report, 'function').comparisons)).toEqual(['y']);
    expect(report.notVerified.join()).toMatch(/^output '(A|map|mean)': shows attention maps/);
  });
});

test.each(settings.slice(0, 4))('a map that is not the differential one is caught: %j', async (options) => {
  const [[, original] = ['', '']] = originals;
  const { rewritten } = pairOfModel(original, options);
  const draft = new Draft(rewritten);
  const map = draft.producer('A');
  const at = map.output.indexOf('A');
  map.output[at] = 'right';
  draft.redirect('A', 'right');
  const zero = draft.insertBefore(draft.first(), 'Identity', ['right']);
  const node = draft.node(zero);
  node.opType = 'Abs';
  node.output = ['A'];
  draft.nodes.push(...draft.nodes.splice(draft.nodes.indexOf(node), 1));
  const report = await verifyModels(original, draft.write());
  expect(failedChecks(report)).toEqual(['layers']);
  expect(report.firstDivergingLayer).toBe('layers.0.attn');
});
