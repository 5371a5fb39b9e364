/** Attention in the branches of an If: each is looked at where it runs, also where both call their values the same. */
import type { RewriteFileSettings } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { ATTENTION } from '../support/attention-text';
import { modelPath, textBytes } from '../support/models';
import { checkOf, findingsOf, pairOfModel } from './support/pairs';

const [constants = ''] = ATTENTION.match(/ {2}float\[8, 8\].*?(?=\n> \{)/s) ?? [];
const [nodes = ''] = ATTENTION.match(/(?<=> \{\n).*(?=\n\})/s) ?? [];

/** The same attention in both branches, under the same names; only one of them doubles its result. */
const BRANCHES = `g (float[B, S, 8] x, bool c) => (float[B, S, 8] out) <
${constants}
> {
  ["choose"] out = If (c) <
    then_branch: graph = yes () => (float[B, S, 8] y) {
${nodes}
    },
    else_branch: graph = no () => (float[B, S, 8] y2) {
${nodes.replaceAll(/\["(\w+)"\]/g, '["no_$1"]')}
      y2 = Add (y, y)
    }
  >
}`;

const original = modelPath(textBytes(BRANCHES));

test.each<RewriteFileSettings>([{}, { emit: 'inline' }, { splitHeads: true }, { init: 'preserve' }])(
  '%j: both branches are run and compared',
  async (settings) => {
    const { rewritten } = pairOfModel(original, settings);
    const report = await verifyModels(original, rewritten);
    expect(findingsOf(report)).toEqual([]);
    expect(report.passed).toBe(true);
    expect(report.cases).toEqual(
      expect.arrayContaining(['batch 1, length 5', 'batch 1, length 5, switched off']),
    );
    const labels = Object.keys(checkOf(report, 'layers').comparisons).filter((label) =>
      label.endsWith(': C'),
    );
    expect(labels).toHaveLength(2);
    expect(labels.join()).toMatch(/then_branch of 'out'.*else_branch of 'out'/);
  },
);
