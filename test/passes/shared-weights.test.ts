/** SPEC section 2: weights that the original shares between layers stay shared, and so does what is new. */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { ATTENTION, variant } from '../support/attention-text';
import { exportNames, openExport, openReference } from '../support/fixtures';
import { modelPath, rewriteText, textBytes } from '../support/models';
import { expectClose, readTensors, runModel } from '../support/run';

/** The attention of ATTENTION twice, over its own output. */
const [body = ''] = ATTENTION.match(/> \{\n.*(?=\n\})/s) ?? [];
const again = body
  .slice(4)
  .replaceAll(/\["(\w+)"\]/g, '["second_$1"]')
  .replaceAll(/\b(q|k|v|[qkvC]_BSHD|C_BSE|Q|K|V|raw|S|A|C|y)\b(?=[ ,)])/g, '$1_2')
  .replaceAll('(x,', '(y,');
const TWICE = variant(ATTENTION, [
  ['=> (float[B, S, 8] y)', '=> (float[B, S, 8] y_2)'],
  [body, `${body}\n${again}`],
]);

const modes: readonly RewriteFileSettings[] = [{}, { emit: 'inline' }, { splitHeads: true }];

test.each(modes)('%j: two uses of one attention are rewritten with one set of parameters', (settings) => {
  const { found, layers, model } = rewriteText(TWICE, settings);
  expect(found.sites.map(({ path, depth, shared }) => ({ path, depth, shared }))).toEqual([
    { path: 'layers.0.attn', depth: 0, shared: true },
    { path: 'layers.0.attn', depth: 0, shared: true },
  ]);
  expect(layers).toHaveLength(2);
  const added = [...model.graph.values.keys()].filter(
    (name) => /lambda_q1|subln|q2_proj/.test(name) && !name.includes('/'),
  );
  expect(added.sort()).toEqual(
    (settings.splitHeads
      ? ['lambda_q1', 'subln.weight']
      : ['lambda_q1', 'q2_proj.weight', 'subln.weight']
    ).map((name) => `layers.0.attn.${name}`),
  );
});

test('mirrored halves of shared weights are mirrored once', () => {
  const { model } = rewriteText(TWICE, { splitHeads: true, init: 'mirror' });
  const weight = model.graph.values.get('layers.0.attn.q_proj.weight')?.initializer;
  const numbers = weight ? [...new Float32Array(new Uint8Array(model.bytes(weight)).buffer)] : [];
  const rows = Array.from({ length: 8 }, (_, row) => numbers.slice(row * 8, row * 8 + 8));
  for (const row of rows) expect(row.slice(4)).toEqual(row.slice(0, 4));
  expect(new Set(numbers).size).toBe(32);
});

describe.each(exportNames().filter((name) => name.startsWith('albert')))('%s', (name) => {
  const { model, io } = openExport(name);
  const reference = openReference('albert-enc');

  test('shares one attention among its layers', () => {
    const { layers, model: rewritten } = rewriteModel(model);
    const [path] = reference.settings.attention.map((each) => each.path);
    expect(layers.map((each) => each.path.replace(/^m\./, ''))).toEqual([path, path]);
    const lambdas = [...rewritten.graph.values.values()].filter(
      ({ name: each, initializer }) => initializer && each.includes('.lambda_q1'),
    );
    expect(lambdas.map((each) => each.name)).toEqual([`m.${path}.lambda_q1`]);
  });

  test.each([
    { init: 'zero', sublayerNorm: false },
    { init: 'preserve', emit: 'inline' },
  ])('%j keeps the outputs', async (settings) => {
    const bytes = rewrittenBytes(rewriteModel(model, settings)).read();
    expectClose(await runModel(bytes, readTensors(io, 'input.')), readTensors(io, 'output.'), 1e-4);
  });

  test.each([
    ['mirror-nonorm', { init: 'mirror', sublayerNorm: false }],
    ['split-nonorm', { splitHeads: true, sublayerNorm: false }],
    ['split-norm', { splitHeads: true, normEps: 1e-5 }],
  ])('equals the reference result %s', async (kind, settings) => {
    const output = rewriteModel(model, { ...settings, weights: reference.lambda });
    const actual = await runModel(rewrittenBytes(output).read(), readTensors(reference.io, 'input.'));
    expectClose(actual, readTensors(reference.io, `${kind}.`), 2e-4);
  });
});

test('the file has no parameter twice', () => {
  const bytes = rewrittenBytes(rewriteModel(modelPath(textBytes(TWICE)))).read();
  expect(Buffer.from(bytes).toString('latin1').split('layers.0.attn.lambda_q1_1')).toHaveLength(1);
});
