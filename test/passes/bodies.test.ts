/** Attention inside the bodies of If, as merged decoders have it: parameters stand once, in the main graph. */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { checkInvariants } from '../../src/ir';
import { ATTENTION } from '../support/attention-text';
import { openExport, randomFill } from '../support/fixtures';
import { modelPath, textBytes, thrownBy } from '../support/models';
import { expectClose, floatTensor, intTensor, readTensors, runModel } from '../support/run';

const x = floatTensor([2, 3, 8], randomFill(5)('x', 48));
const [constants = ''] = ATTENTION.match(/ {2}float\[8, 8\].*?(?=\n> \{)/s) ?? [];
const [nodes = ''] = ATTENTION.match(/(?<=> \{\n).*(?=\n\})/s) ?? [];

/** The same attention in both branches; only one of them doubles its result. */
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

const run = (model: Uint8Array, c: boolean) =>
  runModel(model, { x, c: { dtype: 9, shape: [], data: Uint8Array.of(c ? 1 : 0) } });

const keeping: readonly RewriteFileSettings[] = [
  { init: 'zero', sublayerNorm: false },
  { init: 'preserve', emit: 'inline' },
  { preset: 'v2', init: 'preserve' },
];

describe.each([true, false])('branch %s', (c) => {
  test.each(keeping)('%j keeps the function', async (settings) => {
    const output = rewriteModel(modelPath(textBytes(BRANCHES)), settings);
    expect(checkInvariants(output.model)).toEqual([]);
    expectClose(await run(rewrittenBytes(output).read(), c), await run(textBytes(BRANCHES), c), 1e-5);
  });
});

test.each<RewriteFileSettings>([
  {},
  { splitHeads: true },
  { emit: 'inline' },
  { preset: 'paper' },
  { preset: 'v2' },
])('%j: both branches are one layer, and give what the attention alone gives', async (settings) => {
  const output = rewriteModel(modelPath(textBytes(BRANCHES)), settings);
  expect(output.layers.map(({ path, depth }) => ({ path, depth }))).toEqual([
    { path: 'layers.0.attn', depth: 0 },
    { path: 'layers.0.attn', depth: 0 },
  ]);
  const main = output.model.graph;
  const added = [...main.values.keys()].filter((name) => name.startsWith('layers.0.attn.lambda_'));
  expect(added).toHaveLength(settings.preset === 'v2' ? 1 : 5);
  const bodies = [...main.scopes()].slice(1);
  expect(bodies.flatMap((body) => [...body.values.values()].filter((value) => value.initializer))).toEqual(
    [],
  );

  const { y } = await runModel(
    rewrittenBytes(rewriteModel(modelPath(textBytes(ATTENTION)), settings)).read(),
    { x },
  );
  const { out } = await run(rewrittenBytes(output).read(), true);
  if (!y || !out) throw new Error('no output');
  expectClose({ y: out }, { y }, 1e-6);
});

test('a real merged decoder: four attentions, two layers', async () => {
  const { model, io } = openExport('llama-merged-if-ts17');
  const output = rewriteModel(model, { splitHeads: true });
  expect(output.layers).toHaveLength(4);
  expect(new Set(output.layers.map(({ path }) => path)).size).toBe(2);
  expect(checkInvariants(output.model)).toEqual([]);
  const results = await runModel(rewrittenBytes(output).read(), readTensors(io, 'input.'));
  expect(Object.keys(results)).toEqual(expect.arrayContaining(Object.keys(readTensors(io, 'output.'))));
  expect(intTensor([1], [1]).shape).toEqual([1]);
});

describe('keys that the graph around a body shows', () => {
  /** Projections and the present stand in the main graph, scores and softmax in both branches. */
  const [outside = '', inside = ''] = nodes.split(/(?= {2}\["scores"\])/);
  const shown = `g (float[B, S, 8] x, bool c) => (float[B, S, 8] out, float[B, 2, 4, S] present) <
${constants}
> {
${outside.replaceAll(/\bK\b/g, 'present')}
  ["choose"] out = If (c) <
    then_branch: graph = yes () => (float[B, S, 8] y) {
${inside.replaceAll(/\bK\b/g, 'present')}
    },
    else_branch: graph = no () => (float[B, S, 8] y2) {
${inside.replaceAll(/\bK\b/g, 'present').replaceAll(/\["(\w+)"\]/g, '["no_$1"]')}
      y2 = Add (y, y)
    }
  >
}`;

  test('are refused with a reason, where they would be doubled', () => {
    const error = thrownBy(() => rewriteModel(modelPath(textBytes(shown))));
    expect(error).toMatchObject({ code: 'unrewritten', reasons: ['cache', 'cache'] });
    expect(error.message).toContain("found 'present' of a graph around it");
  });

  test('and are no matter where they are not', async () => {
    const output = rewriteModel(modelPath(textBytes(shown)), { preset: 'v2', init: 'preserve' });
    expectClose(await run(rewrittenBytes(output).read(), true), await run(textBytes(shown), true), 1e-5);
  });
});

describe('what stands between the projections and the scores', () => {
  /** The branches hold what comes behind the node of this name. */
  const branchesFrom = (name: string, all = nodes) => {
    const [outside = '', inside = ''] = all.split(new RegExp(`(?= {2}\\["${name}"\\])`));
    return `g (float[B, S, 8] x, bool c) => (float[B, S, 8] out) <
${constants}
> {
${outside}
  ["choose"] out = If (c) <
    then_branch: graph = yes () => (float[B, S, 8] y) {
${inside}
    },
    else_branch: graph = no () => (float[B, S, 8] y2) {
${inside.replaceAll(/\["(\w+)"\]/g, '["no_$1"]')}
      y2 = Add (y, y)
    }
  >
}`;
  };

  test('may not stand around the body where it is copied', () => {
    const capped = nodes.replace(
      'S = Mul (raw, scale)',
      'cap = Mul (raw, scale)\n  ["capped"] S = Tanh (cap)',
    );
    const error = thrownBy(() => rewriteModel(modelPath(textBytes(branchesFrom('scores', capped)))));
    expect(error).toMatchObject({ code: 'unrewritten', reasons: ['control-flow', 'control-flow'] });
    expect(error.message).toContain("found 'Q' of a graph around its body");
  });

  test('may where the queries and keys are all that is copied', async () => {
    const text = branchesFrom('scores');
    const output = rewriteModel(modelPath(textBytes(text)), { init: 'preserve' });
    expectClose(await run(rewrittenBytes(output).read(), true), await run(textBytes(text), true), 1e-5);
  });

  test('unlike the projections', async () => {
    const text = branchesFrom('q_split');
    const output = rewriteModel(modelPath(textBytes(text)), { init: 'preserve' });
    expectClose(await run(rewrittenBytes(output).read(), true), await run(textBytes(text), true), 1e-5);
  });

  test('nor do split heads mind', async () => {
    const output = rewriteModel(modelPath(textBytes(branchesFrom('scores'))), { splitHeads: true });
    expect(output.layers).toHaveLength(2);
    expect(checkInvariants(output.model)).toEqual([]);
  });
});
