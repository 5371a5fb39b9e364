/** Attention in the bodies of If, Loop and Scan is looked at where it runs, also where two bodies use the same names. */
import type { RewriteFileSettings } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { declaredShape, load } from '../../src/ir';
import { readModel } from '../../src/onnx';
import { ATTENTION } from '../support/attention-text';
import { modelPath, textBytes } from '../support/models';
import { Draft } from './support/draft';
import { checkOf, failedChecks, findingsOf, pairOfModel } from './support/pairs';

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

test.each<RewriteFileSettings>([
  {},
  { emit: 'inline' },
  { splitHeads: true },
  { init: 'preserve' },
  { preset: 'v2' },
])('%j: both branches are run and compared', async (settings) => {
  const { rewritten } = pairOfModel(original, settings);
  const report = await verifyModels(original, rewritten);
  expect(findingsOf(report)).toEqual([]);
  expect(report.passed).toBe(true);
  expect(report.cases).toEqual(
    expect.arrayContaining(['batch 1, length 5', 'batch 1, length 5, switched off']),
  );
  const labels = Object.keys(checkOf(report, 'layers').comparisons).filter((label) => label.endsWith(': C'));
  expect(labels).toHaveLength(2);
  expect(labels.join()).toMatch(/then_branch of 'out'.*else_branch of 'out'/);
});

const LOOP = `<ir_version: 8, opset_import: ["" : 17]>
g (float[B, S, 8] x0) => (float[B, S, 8] out) <
${constants},
  int64 trips = {2},
  bool yes = {1}
> {
  ["loop"] out = Loop (trips, yes, x0) <
    body: graph = round (int64 i, bool go, float[B, S, 8] x) => (bool go_out, float[B, S, 8] y) {
      go_out = Identity (go)
${nodes}
    }
  >
}`;

const SCAN = `<ir_version: 8, opset_import: ["" : 17]>
g (float[N, B, S, 8] xs) => (float[N, B, S, 8] out) <
${constants}
> {
  ["scan"] out = Scan (xs) <
    num_scan_inputs = 1,
    body: graph = round (float[B, S, 8] x) => (float[B, S, 8] y) {
${nodes}
    }
  >
}`;

describe.each([
  ['Loop', LOOP],
  ['Scan', SCAN],
])('%s', (_, text) => {
  test.each<RewriteFileSettings>([{}, { emit: 'inline' }, { splitHeads: true }, { preset: 'v2' }])(
    '%j: the first round is compared',
    async (settings) => {
      const { original, rewritten } = pairOfModel(modelPath(textBytes(text)), settings);
      const report = await verifyModels(original, rewritten);
      expect(findingsOf(report)).toEqual([]);
      expect(report.passed).toBe(true);
      expect(Object.keys(checkOf(report, 'layers').comparisons)).toContain('layers.0.attn: C');
    },
  );
});

/** The attention maps of both branches are shown by the model. */
const SHOWN = BRANCHES.replace('=> (float[B, S, 8] out)', '=> (float[B, S, 8] out, float[B, 2, S, S] map)')
  .replace('["choose"] out =', '["choose"] out, map =')
  .replace('=> (float[B, S, 8] y) {', '=> (float[B, S, 8] y, float[B, 2, S, S] A) {')
  .replace('=> (float[B, S, 8] y2) {', '=> (float[B, S, 8] y2, float[B, 2, S, S] A) {');

test.each<[RewriteFileSettings, number]>([
  [{}, 2],
  [{ splitHeads: true }, 1],
  [{ init: 'preserve' }, 2],
])(
  'attention maps that branches show, %j: verified, with as many heads as there are maps',
  async (settings, heads) => {
    const files = pairOfModel(modelPath(textBytes(SHOWN)), settings);
    const map = load(readModel(files.rewritten)).graph.outputs[1];
    expect(map && declaredShape(map)).toEqual(['B', heads, 'S', 'S']);
    const report = await verifyModels(files.original, files.rewritten);
    expect(findingsOf(report)).toEqual([]);
    if (settings.init) expect(report.notVerified.join()).toContain("output 'map': shows attention maps");
  },
);

test('damage in one branch is found there', async () => {
  const { rewritten } = pairOfModel(original, { emit: 'inline' });
  const draft = new Draft(rewritten);
  const choose = draft.node('choose');
  choose.attribute = choose.attribute.map((attribute) => {
    if (attribute.name !== 'else_branch' || !attribute.g) return attribute;
    const node = attribute.g.node.map((each) =>
      each.name?.endsWith('/map_1') ? { ...each, opType: 'Add' } : each,
    );
    return { ...attribute, g: { ...attribute.g, node } };
  });
  const report = await verifyModels(original, draft.write());
  expect(failedChecks(report)).toEqual(['layers']);
  expect(findingsOf(report)[0]).toMatch(/else_branch of 'out'.*switched off/);
});
