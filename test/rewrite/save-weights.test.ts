/** SPEC section 4: the attention parameters of a rewrite in the layout of the reference implementation. */
import * as path from 'node:path';
import { type RewriteOutput, rewriteModel, writeRewritten } from '../../src/api/rewrite';
import { saveWeights, weightsOf } from '../../src/api/weights';
import { isFloatType, readModel, writeFiles } from '../../src/onnx';
import { forms } from '../support/attention-forms';
import { ATTENTION } from '../support/attention-text';
import { goldenNames, openExport, openGolden, temporaryFolder } from '../support/fixtures';
import { goldenSettings } from '../support/golden';
import { modelPath, textBytes, thrownBy } from '../support/models';
import { readTensors, type Tensors } from '../support/run';

let files = 0;
const target = (ending = 'safetensors') => path.join(temporaryFolder(), `saved-${files++}.${ending}`);

/** What --save-weights would write. */
function saved(output: RewriteOutput, stripPrefix?: string): { file: string; tensors: Tensors } {
  const file = target();
  writeFiles([weightsOf(output, file, stripPrefix === undefined ? {} : { stripPrefix }).output], false);
  return { file, tensors: readTensors(file) };
}

describe.each(goldenNames())('%s', (name) => {
  const { settings, models, attention } = openGolden(name);
  const expected = readTensors(attention);

  test.each(['torchscript', 'dynamo'] as const)(
    '%s: saved weights are those of the reference',
    (exporter) => {
      const model = models[exporter];
      const { tensors } = saved(rewriteModel(model, { ...goldenSettings(settings), weights: attention }));
      expect(Object.keys(tensors).sort()).toEqual(Object.keys(expected).sort());
      expect(tensors).toEqual(expected);
    },
  );
});

/** Every stored float of a model by name. */
function parameters({ model }: RewriteOutput): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { name, initializer } of model.graph.values.values()) {
    if (initializer && isFloatType(initializer.dataType))
      found[name] = Buffer.from(model.bytes(initializer)).toString('base64');
  }
  return found;
}

const exports = [
  'gpt2-dec-ts17-sdpa',
  'bert-enc-dy18-sdpa',
  't5-seq-ts17-sdpa',
  'falcon-dec-ts17-sdpa',
  'llama-dec-ts17-sdpa+fp16',
  'llama-merged-if-ts17',
  'ms-attention-packed',
  'bert-enc-ts14-eager+ortfused',
];

describe.each([
  ...forms.map(({ what, text, kvHeads }) => ({
    what,
    even: kvHeads % 2 === 0,
    model: () => modelPath(textBytes(text)),
  })),
  ...exports.map((what) => ({ what, even: !what.startsWith('falcon'), model: () => openExport(what).model })),
])('$what', ({ model, even }) => {
  const v2 = { preset: 'v2' };
  test.each(even ? [{}, v2, { splitHeads: true }, { preset: 'paper' }] : [{}, v2])(
    'what was saved, loaded again, gives the same parameters: %j',
    (heads) => {
      const first = rewriteModel(model(), { ...heads, seed: 1 });
      const { file } = saved(first);
      const second = rewriteModel(model(), { ...heads, seed: 2, weights: file, strictWeights: true });
      expect(parameters(second)).toEqual(parameters(first));
      // and not because the seed does nothing
      expect(parameters(rewriteModel(model(), { ...heads, seed: 2 }))).not.toEqual(parameters(first));
    },
  );
});

describe('keys', () => {
  const model = () => openExport('llama-dec-ts17-sdpa').model;
  const paths = (tensors: Tensors) =>
    new Set(Object.keys(tensors).map((key) => key.replace(/\.self_attn\..*/, '.self_attn')));

  test('begin with the path of the export', () => {
    const { tensors } = saved(rewriteModel(model()));
    expect([...paths(tensors)].sort()).toEqual(['m.model.layers.0.self_attn', 'm.model.layers.1.self_attn']);
  });

  test('or with what is left of it without a wrapper', () => {
    const { tensors } = saved(rewriteModel(model()), 'm.');
    expect([...paths(tensors)].sort()).toEqual(['model.layers.0.self_attn', 'model.layers.1.self_attn']);
    const error = thrownBy(() => saved(rewriteModel(model()), 'model.'));
    expect(error).toMatchObject({ code: 'no-prefix', exitCode: 2 });
    expect(error.message).toContain("'m.model.layers.0.self_attn' does not begin so");
  });

  test('or with the path of the checkpoint that was loaded', () => {
    const { file } = saved(rewriteModel(model()), 'm.model.');
    const { tensors } = saved(rewriteModel(model(), { weights: file }));
    expect([...paths(tensors)].sort()).toEqual(['layers.0.self_attn', 'layers.1.self_attn']);
  });
});

test('only the layers that were rewritten are saved', () => {
  const { tensors } = saved(rewriteModel(openExport('llama-dec-ts17-sdpa').model, { layers: '1' }));
  expect(Object.keys(tensors).every((key) => key.startsWith('m.model.layers.1.self_attn.'))).toBe(true);
  expect(Object.keys(tensors)).toContain('m.model.layers.1.self_attn.lambda_q1');
});

test('quantized queries have no place in the reference layout', () => {
  const output = rewriteModel(openExport('bert-enc-ts14-eager+int8').model, { init: 'mirror' });
  expect(thrownBy(() => saved(output))).toMatchObject({ code: 'quantized-weights', exitCode: 2 });
});

describe('saveWeights, from files', () => {
  test.each(['function', 'inline'])('gives the same bytes as saving them while rewriting: %s', (emit) => {
    const original = openExport('qwen2-dec-ts17-sdpa').model;
    const output = rewriteModel(original, { emit });
    const [rewritten, later] = [target('onnx'), target()];
    writeRewritten(output, rewritten, false);
    const { keys, layers } = saveWeights(original, rewritten, later);
    expect(layers).toBe(2);
    const { file, tensors } = saved(output);
    expect(keys).toEqual(expect.arrayContaining(Object.keys(tensors)));
    expect(readTensors(later)).toEqual(readTensors(file));
    expect(Object.keys(tensors)).toContain('m.model.layers.0.self_attn.q_proj.bias');
  });

  test('refuses a model that is not the original, and one that diffx did not write', () => {
    const original = modelPath(textBytes(ATTENTION));
    const rewritten = target('onnx');
    writeRewritten(rewriteModel(original), rewritten, false);
    const other = modelPath(textBytes(ATTENTION, 5));
    expect(readModel(other).sha256()).not.toBe(readModel(original).sha256());
    expect(thrownBy(() => saveWeights(other, rewritten, target())).code).toBe('other-original');
    expect(thrownBy(() => saveWeights(original, original, target())).code).toBe('not-rewritten');
  });
});
