/**
 * Attention inside local functions. The fixtures are real exports whose modules were moved into functions, one inside the
 * other (fixtures/outline.py); what they give is what the exports give.
 */
import { inspectModel } from '../../src/api/inspect';
import { type RewriteFileSettings, rewriteModel, writeRewritten } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { checkInvariants, load } from '../../src/ir';
import { readModel } from '../../src/onnx';
import { ATTENTION, line, variant } from '../support/attention-text';
import { openExport, randomFill, scopesFixture, temporaryFolder } from '../support/fixtures';
import { modelPath, modelText, rewriteText, rewriteToBytes, textBytes, thrownBy } from '../support/models';
import { expectClose, floatTensor, readTensors, runModel } from '../support/run';
import { findingsOf } from '../verify/support/pairs';

const names = ['bert-enc-ts14-eager', 'gpt2-dec-dy23-sdpa', 'llama-past-dy18-sdpa', 't5-seq-dy18-eager'];
const merged = 'llama-merged-if-ts17';
const outlined = (name: string) => scopesFixture(`outlined_${name}.onnx`);

describe.each([...names, merged])('%s', (name) => {
  test('the attentions of the export are found, at the same depths and with the same heads', () => {
    // The branches of the merged decoder have no module paths in the export itself.
    const places = (file: string) =>
      inspectModel(file).attentions.map(({ path, depth, heads }) => [
        name === merged ? '' : path,
        depth,
        heads,
      ]);
    const { notUnderstood, file } = inspectModel(outlined(name));
    expect(notUnderstood).toEqual([]);
    expect(file.functions).toBeGreaterThan(0);
    expect(places(outlined(name))).toEqual(places(openExport(name).model));
  });

  test.each<RewriteFileSettings>([
    { init: 'preserve' },
    { init: 'zero', sublayerNorm: false, emit: 'inline' },
  ])('%j: what the export gives', async (settings) => {
    if (name === merged) return;
    const bytes = rewriteToBytes(outlined(name), settings);
    const io = scopesFixture(`outlined_${name}.io.safetensors`);
    const wanted = Object.fromEntries(
      Object.entries(readTensors(io, 'output.')).filter(([key]) => !key.startsWith('present')),
    );
    const { inputs } = load(readModel(outlined(name))).graph;
    const feeds = readTensors(io, 'input.');
    const both = Object.fromEntries(
      inputs.flatMap((input) => {
        const tensor = feeds[input.name];
        const keys = /^past.*key$/.test(input.name);
        return tensor ? [[input.name, keys ? twice(tensor) : tensor] as const] : [];
      }),
    );
    expectClose(await runModel(bytes, both, { outputs: Object.keys(wanted) }), wanted, 1e-4);
  });
});

/** Keys [B, G, T, D] of both components. */
function twice({ shape, data }: ReturnType<typeof floatTensor>) {
  const [batch = 0, heads = 0, ...rest] = shape;
  const size = data.length / batch;
  const rows = Array.from({ length: batch }, (_, row) =>
    Array.from(data.slice(row * size, (row + 1) * size) as Float32Array),
  );
  return floatTensor(
    [batch, 2 * heads, ...rest],
    rows.flatMap((row) => [...row, ...row]),
  );
}

test.each([
  ['llama-past-dy18-sdpa', {}],
  ['bert-enc-ts14-eager', { splitHeads: true }],
  ['bert-enc-ts14-eager', { preset: 'v2' }],
  [merged, {}],
] as const)('%s, %j: verified, the original with its functions in place as well', async (name, settings) => {
  const target = `${temporaryFolder()}/${name}.diff.onnx`;
  writeRewritten(rewriteModel(outlined(name), settings), target, true);
  const report = await verifyModels(outlined(name), target);
  expect(findingsOf(report)).toEqual([]);
  expect(report.checks.map((check) => check.name)).toContain('prepared');
});

test('functions beside the attention stay byte for byte, with their calls', () => {
  const source = load(readModel(outlined('bert-enc-ts14-eager')));
  const { model, layers } = rewriteModel(outlined('bert-enc-ts14-eager'));
  expect(layers).toHaveLength(2);
  const before = new Map(source.functions.map(({ proto }) => [proto.name, proto]));
  const kept = model.functions.map(({ proto }) => proto.name);
  expect(kept.length).toBeGreaterThan(2);
  expect(kept.length).toBeLessThan(before.size);
  const called = new Set([...model.scopes()].flatMap(({ nodes }) => nodes.map(({ opType }) => opType)));
  for (const name of kept) expect(called).toContain(name);
});

/** ATTENTION with its softmax, and whatever else is asked for, in functions. */
const withFunctions = (replaced: readonly (readonly [string, string])[], functions: string) =>
  `${variant(ATTENTION, [['"com.microsoft" : 1', '"f" : 1'], ...replaced])}\n${functions}`;
const FUNCTION = '<domain: "f", opset_import: ["" : 17]>';
const x = floatTensor([2, 3, 8], randomFill(5)('x', 48));

describe('parts of an attention', () => {
  const softmax = withFunctions(
    [[line('softmax'), '  ["softmax"] A = f.probabilities <along: int = -1> (S)']],
    `${FUNCTION} probabilities <along: int = 0> (s) => (p) { p = Softmax <axis: int = @along> (s) }`,
  );
  const halves = withFunctions(
    [
      [line('q_proj'), '  ["q_proj"] q = f.layer (x, "layers.0.attn.q_proj.weight")'],
      [line('k_proj'), '  ["k_proj"] k = f.layer (x, "layers.0.attn.k_proj.weight")'],
      [line('attended'), '  ["attended"] C = f.weigh (A, V)'],
    ],
    `${FUNCTION} layer (a, w) => (b) { b = MatMul (a, w) }
${FUNCTION} weigh (a, v) => (c) { c = MatMul (a, v) }
${FUNCTION} unused (a, v) => (c) { t = MatMul (a, v)\n p = Softmax (t)\n c = MatMul (p, v) }`,
  );

  test.each([
    ['the softmax', softmax],
    ['linear layers that share a function, and the product with values', halves],
  ])('%s', async (_, text) => {
    const { found, model } = rewriteText(text, { init: 'preserve' });
    expect(found.misses).toEqual([]);
    expect(found.analysis.candidates).toHaveLength(1);
    expect(checkInvariants(model)).toEqual([]);
    const bytes = rewriteToBytes(modelPath(textBytes(text)), { init: 'preserve' });
    expectClose(await runModel(bytes, { x }), await runModel(textBytes(text), { x }), 1e-5);
  });

  test('a function that nobody calls is no candidate, and stays', () => {
    const { model } = rewriteText(halves);
    expect(model.functions.map(({ proto }) => proto.name)).toEqual(['unused']);
  });

  test('a refusal names the node inside the function, and leaves the model as it was', () => {
    const text = withFunctions(
      [[line('softmax'), '  ["softmax"] A = f.probabilities (S)']],
      `${FUNCTION} probabilities (s) => (p) { ["inside"] p = Softmax <axis = 1> (s) }`,
    );
    const error = thrownBy(() => rewriteText(text));
    expect(error).toMatchObject({ code: 'unrewritten', exitCode: 3 });
    expect(error.message).toContain("'softmax/inside': softmax-axis");
    const file = modelPath(textBytes(text));
    const { file: facts, notUnderstood } = inspectModel(file);
    expect(facts).toMatchObject({ functions: 1, nodes: 16 });
    expect(notUnderstood.map(({ code }) => code)).toEqual(['softmax-axis']);
    expect(modelText(load(readModel(file)))).toContain('f.probabilities');
  });
});
