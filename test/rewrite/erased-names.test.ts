/**
 * Issue 9: optimizers erase the names of an attention's weights. Its tensors in a checkpoint are found all the same where
 * one module below the same parent fits, and never where two do.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import {
  type RewriteFileSettings,
  rewriteModel,
  rewrittenBytes,
  writeRewritten,
} from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { derive, encode, type NodeProto, parseModel } from '../../src/onnx';
import { weightsReport, weightsText } from '../../src/report/weights';
import { ATTENTION, line, variant } from '../support/attention-text';
import { checkpoint, randomTensor } from '../support/checkpoints';
import { openExport, openTrained, temporaryFolder } from '../support/fixtures';
import { graphOf, modelPath, textBytes, thrownBy } from '../support/models';
import { parameter } from '../support/reference';
import {
  expectClose,
  floatTensor,
  largestDifference,
  numbersOf,
  readTensors,
  runModel,
  type Tensor,
  type Tensors,
} from '../support/run';

const random = randomTensor(7);

let files = 0;

function below(module: string, tensors: Tensors): Tensors {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [`${module}.${name}`, tensor]));
}

const WEIGHTS = ['q_proj', 'k_proj', 'v_proj', 'o_proj'];

/** ATTENTION as optimizers leave it: its own names are gone, that of a norm of the layer is not. */
const ERASED = WEIGHTS.reduce(
  (text, name) => text.replaceAll(`"layers.0.attn.${name}.weight"`, `"MatMul_${name[0]}"`),
  variant(ATTENTION, [
    ['{\n  ["q_proj"]', '{\n  ["norm"] n = Mul (x, "model.layers.0.input_layernorm.weight")\n  ["q_proj"]'],
    [
      '  float[8, 8] "layers.0.attn.q_proj',
      '  float[8] "model.layers.0.input_layernorm.weight" = {...},\n  float[8, 8] "layers.0.attn.q_proj',
    ],
    [line('q_proj'), line('q_proj').replace('(x,', '(n,')],
    [line('k_proj'), line('k_proj').replace('(x,', '(n,')],
    [line('v_proj'), line('v_proj').replace('(x,', '(n,')],
  ]),
);

/** All tensors of a differential attention of ATTENTION's sizes, as the preset axolotl has them. */
const OWN: Tensors = {
  'q_proj.weight': random('q', 16, 8),
  'k_proj.weight': random('k', 16, 8),
  'v_proj.weight': random('v', 8, 8),
  'o_proj.weight': random('o', 8, 8),
  lambda_q1: random('q1', 4),
  lambda_k1: random('k1', 4),
  lambda_q2: random('q2', 4),
  lambda_k2: random('k2', 4),
  lambda_init: random('init'),
  'subln.weight': random('subln', 4),
};

const rewritten = (tensors: Tensors, settings: RewriteFileSettings = {}, text = ERASED) =>
  rewriteModel(modelPath(textBytes(text)), { ...settings, weights: checkpoint(tensors) });

describe('an attention without a name', () => {
  test.each(['model.layers.0.self_attn', 'layers.0.attention.self', 'base.model.layers.0.attn'])(
    'is taken for %s, and that is said',
    (module) => {
      const { model, weights, layers } = rewritten(below(module, OWN), { strictWeights: true });
      expect(layers.map((layer) => layer.path)).toEqual(['model.layers.0.attention']);
      expect(weights).toMatchObject({
        initialised: [],
        unused: [],
        guessed: [{ path: 'model.layers.0.attention', module }],
      });
      expect([...parameter(model, 'lambda_k2', 'model.layers.0.attention')]).toEqual(
        numbersOf(OWN['lambda_k2']),
      );
      const report = weights && weightsReport('x', weights);
      expect(report?.counts.guessed).toBe(1);
      expect(report && weightsText(report).join('\n')).toContain(
        `, 1 attention guessed\n  guessed  model.layers.0.attention is ${module}`,
      );
    },
  );

  test('gives what the one with a name gives', async () => {
    const named = variant(ERASED, []).replaceAll(
      /"MatMul_([qkvo])"/g,
      (_, letter) => `"model.layers.0.self_attn.${letter}_proj.weight"`,
    );
    const feeds = { x: random('x', 2, 5, 8) };
    // What ATTENTION stores [in, out], a checkpoint has [out, in]; where the name is known, it is taken as it stands.
    const square = { 'v_proj.weight': transposed('v'), 'o_proj.weight': transposed('o') };
    const known = rewritten(below('model.layers.0.self_attn', { ...OWN, ...square }), {}, named);
    const guessed = rewritten(below('model.layers.0.self_attn', OWN));
    expect(known.weights?.guessed).toEqual([]);
    const [expected, actual] = [known, guessed].map((each) => runModel(rewrittenBytes(each).read(), feeds));
    expectClose((await actual) ?? {}, (await expected) ?? {}, 1e-6);
  });

  test.each<[string, boolean, Tensors]>([
    ['paper', true, { lambda_q1: random('q1', 4), 'subln.weight': random('s', 8) }],
    ['diffllama', true, { lambda_q1: random('q1', 4), 'q_proj.weight': random('q', 8, 8) }],
    ['v2', false, { 'lambda_proj.weight': random('l', 2, 8) }],
    ['axolotl', false, { 'q2_proj.weight': random('q2', 8, 8), 'k2_proj.weight': random('k2', 8, 8) }],
  ])('is found by what %s stores', (preset, splitHeads, tensors) => {
    const { weights } = rewritten(below('model.layers.0.self_attn', tensors), { preset, splitHeads });
    const keys = weights?.loaded.map(({ key }) => key).sort();
    expect(keys).toEqual(Object.keys(below('model.layers.0.self_attn', tensors)).sort());
  });

  test('that bears the name of its layer alone is found', () => {
    const text = ERASED.replaceAll('"MatMul_q"', '"model.layers.0.q.weight"').replaceAll(
      '"MatMul_k"',
      '"model.layers.0.k.weight"',
    );
    const { layers, weights } = rewritten(below('model.layers.0.self_attn', OWN), {}, text);
    expect(layers.map((layer) => layer.path)).toEqual(['model.layers.0']);
    expect(weights).toMatchObject({
      guessed: [{ path: 'model.layers.0', module: 'model.layers.0.self_attn' }],
      initialised: [],
      unused: [],
    });
  });

  test('in part: values and output are found by what the checkpoint calls them', () => {
    const named = ERASED.replaceAll(/"MatMul_([qk])"/g, '"model.layers.0.self_attn.$1_proj.weight"');
    const { model, weights } = rewritten(below('model.layers.0.self_attn', OWN), {}, named);
    expect(weights).toMatchObject({ guessed: [], initialised: [], unused: [] });
    const stored = model.graph.values.get('MatMul_v')?.initializer;
    const numbers = stored ? [...new Float32Array(model.bytes(stored).slice().buffer)] : [];
    expect(numbers).toEqual(numbersOf(transposed('v')));
  });

  test('whose queries, keys and values are packed is found with them', () => {
    const packed = { 'qkv.weight': random('qkv', 24, 8), lambda_q1: random('q1', 4) };
    const text = variant(ERASED, [
      ['  float[8, 8] "MatMul_q" = {...},\n', '  float[8, 24] W = {...},\n'],
      ['  float[8, 8] "MatMul_k" = {...},\n', ''],
      ['  float[8, 8] "MatMul_v" = {...},\n', ''],
      [
        line('q_proj', ERASED),
        '  ["qkv"] all = MatMul (n, W)\n  ["parts"] q, k, v = Split <axis = -1, num_outputs = 3> (all)',
      ],
      [`${line('k_proj', ERASED)}\n`, ''],
      [`${line('v_proj', ERASED)}\n`, ''],
      ['"" : 17', '"" : 18'],
    ]);
    const { model, weights } = rewritten(below('model.layers.0.attn', packed), {}, text);
    expect(weights).toMatchObject({ unused: [] });
    const stored = model.graph.values.get('W')?.initializer;
    const numbers = stored ? new Float32Array(model.bytes(stored).slice().buffer) : [];
    const rows = numbersOf(packed['qkv.weight']);
    expect([numbers[0], numbers[1], numbers[24]]).toEqual([rows[0], rows[8], rows[1]]);
  });
});

describe('what fits twice is an error', () => {
  const self = below('model.layers.0.self_attn', OWN);

  test('two modules below one parent', () => {
    const error = thrownBy(() => rewritten({ ...self, ...below('model.layers.0.cross_attn', OWN) }));
    expect(error).toMatchObject({ code: 'guessed-twice', exitCode: 2 });
    for (const name of ['self_attn', 'cross_attn'])
      expect(error.message).toContain(`'model.layers.0.${name}'`);
    expect(error.message).toContain("'model.layers.0.attention'");
  });

  test('unless shapes tell them apart', () => {
    const wide = { lambda_q1: random('q1', 5), lambda_k1: random('k1', 5) };
    const { weights } = rewritten({ ...self, ...below('model.layers.0.cross_attn', wide) });
    expect(weights?.guessed).toEqual([
      { path: 'model.layers.0.attention', module: 'model.layers.0.self_attn' },
    ]);
    expect(weights?.unused).toEqual([
      'model.layers.0.cross_attn.lambda_k1',
      'model.layers.0.cross_attn.lambda_q1',
    ]);
  });

  test('a name that the model has is not taken for another one', () => {
    const named = ERASED.replaceAll(/"MatMul_([qk])"/g, '"model.layers.0.self_attn.$1_proj.weight"');
    const cross = below('model.layers.0.cross_attn', OWN);
    expect(thrownBy(() => rewritten(cross, {}, named))).toMatchObject({ code: 'nothing-fits', exitCode: 2 });
    const plain = named.replaceAll('self_attn', 'attention');
    expect(rewritten(cross, {}, plain).weights?.guessed).toHaveLength(1);
  });

  test('another layer is another parent', () => {
    const other = { lambda_q1: random('other', 4) };
    const { weights } = rewritten({ ...self, ...below('model.layers.1.self_attn', other) });
    expect(weights?.guessed).toHaveLength(1);
    expect(weights?.unused).toEqual(['model.layers.1.self_attn.lambda_q1']);
  });
});

describe('two attentions of one layer', () => {
  /** A second attention behind the first, with the weights of these names. */
  const twice = (second: string, first = 'MatMul_') => {
    const [head = '', body = ''] = ERASED.split('> {');
    const weights = head.match(/.*"MatMul_.*\n/g)?.join('') ?? '';
    const nodes = body.slice(body.indexOf('  ["q_proj"]'), body.indexOf('\n}'));
    const renamed = nodes
      .replaceAll(/\["(\w+)"\]/g, '["$1 of the second"]')
      .replaceAll(/\b(q|k|v|Q|K|V|S|A|C|y|raw|q_BSHD|k_BSHD|v_BSHD|C_BSHD|C_BSE)\b(?![\w"])/g, '$1_2')
      .replaceAll('(n, ', '(y, ');
    return `${head}> {${body.slice(0, body.indexOf('\n}'))}\n${renamed}\n}`
      .replaceAll('"MatMul_', `"${first}`)
      .replace('float[B, S, 8] y)', 'float[B, S, 8] y_2)')
      .replace(
        weights.replaceAll('"MatMul_', `"${first}`),
        (all) => all + all.replaceAll(`"${first}`, `"${second}`),
      )
      .replace(renamed.replaceAll('"MatMul_', `"${first}`), (all) =>
        all.replaceAll(`"${first}`, `"${second}`),
      );
  };
  const [self, cross] = ['self_attn', 'cross_attn'].map((name) => below(`model.layers.0.${name}`, OWN));

  test('of which one has its name leave one module for the other', () => {
    const text = twice('model.layers.0.X_', 'model.layers.0.self_attn.')
      .replaceAll(/self_attn\.([qkvo])"/g, 'self_attn.$1_proj.weight"')
      .replaceAll('model.layers.0.X_', 'MatMul_');
    const { weights, layers } = rewritten({ ...self, ...cross }, {}, text);
    expect(layers.map((layer) => layer.path)).toEqual([
      'model.layers.0.self_attn',
      'model.layers.0.attention',
    ]);
    expect(weights?.guessed).toEqual([
      { path: 'model.layers.0.attention', module: 'model.layers.0.cross_attn' },
    ]);
    expect(weights).toMatchObject({ initialised: [], unused: [] });
  });

  test('of which neither has its name are not taken for anything', () => {
    const error = thrownBy(() => rewritten({ ...self, ...cross }, {}, twice('Other_')));
    expect(error.exitCode).toBe(2);
    expect(['guessed-twice', 'nothing-fits']).toContain(error.code);
  });

  test('do not share the one module there is', () => {
    const error = thrownBy(() =>
      rewritten(
        { ...self },
        {},
        twice('model.layers.0.second_', 'model.layers.0.').replaceAll(
          /model\.layers\.0\.(\w+)"/g,
          'model.layers.0.$1.weight"',
        ),
      ),
    );
    expect(error).toMatchObject({ code: 'guessed-twice', exitCode: 2 });
    expect(error.message).toContain("'model.layers.0', 'model.layers.0.attention1'");
  });
});

describe('a checkpoint of which nothing fits is an error', () => {
  test.each<[string, Tensors]>([
    ['other names', { 'optimizer.step': random('s', 1) }],
    ['another layer', below('model.layers.3.self_attn', OWN)],
    ['attentions of other widths', below('model.layers.0.self_attn', { lambda_q1: random('q', 5) })],
    [
      'a norm that fits, and attentions that do not',
      { 'model.layers.0.input_layernorm.weight': random('n', 8), ...below('decoder.blocks.0.attn', OWN) },
    ],
  ])('%s', (_, tensors) => {
    const error = thrownBy(() => rewritten(tensors));
    expect(error).toMatchObject({ code: 'nothing-fits', exitCode: 2 });
    expect(error.message).toContain("'model.layers.0.attention'");
  });

  test('but not one of which something does', () => {
    const norm = { 'model.layers.0.input_layernorm.weight': random('n', 8) };
    expect(rewritten(norm).weights?.loaded).toHaveLength(1);
  });
});

/** A model without the names of what belongs to its attentions: weights, nodes, scopes. */
function erased(model: string): string {
  const { proto } = parseModel(new Uint8Array(readFileSync(model)));
  const graph = graphOf(proto);
  const inside = /(^|[._/'])(self_)?attn[./']/;
  const scope = ({ name, metadataProps }: NodeProto) =>
    `${name} ${metadataProps?.find(({ key }) => key?.endsWith('name_scopes'))?.value}`;
  const own = graph.node.filter((node) => inside.test(scope(node)));
  const read = new Set(own.flatMap(({ input }) => input));
  const names = new Map<string, string>();
  for (const { name = '' } of graph.initializer)
    if (inside.test(name) || (read.has(name) && !/norm|embed/.test(name)))
      names.set(name, `MatMul_${names.size}`);
  const node = graph.node.map((each) => {
    const input = each.input.map((name) => names.get(name) ?? name);
    return own.includes(each)
      ? derive(each, { input, name: '', metadataProps: [] })
      : derive(each, { input });
  });
  const initializer = graph.initializer.map((tensor) =>
    derive(tensor, { name: names.get(tensor.name ?? '') ?? tensor.name ?? '' }),
  );
  const file = path.join(temporaryFolder(), `erased-${files++}.onnx`);
  writeFileSync(
    file,
    encode('ModelProto', derive(proto, { graph: derive(graph, { node, initializer }) })).read(),
  );
  return file;
}

describe('trained weights into a model without the names give the outputs of PyTorch', () => {
  test.each(['gpt2-own', 'qwen2-own'])('%s', async (name) => {
    const { models, checkpoint: weights, io } = openTrained(name);
    for (const exporter of ['torchscript', 'dynamo'] as const) {
      const output = rewriteModel(erased(models[exporter]), { weights });
      expect(output.weights?.guessed).toHaveLength(2);
      expect(output.weights?.unused).toEqual([]);
      const actual = await runModel(rewrittenBytes(output).read(), readTensors(io, 'input.'));
      expect(largestDifference(readTensors(io)['output'], actual['output'])).toBeLessThan(1e-5);
    }
  });
});

test('an export that ONNX Runtime has optimized takes the weights that the export itself takes', async () => {
  const tensors = Object.assign(
    {},
    ...[0, 1].map((layer) =>
      below(`model.layers.${layer}.self_attn`, {
        'q_proj.weight': random(`q${layer}`, 64, 32),
        'k_proj.weight': random(`k${layer}`, 32, 32),
        'v_proj.weight': random(`v${layer}`, 16, 32),
        'o_proj.weight': random(`o${layer}`, 32, 32),
        lambda_q1: random(`lambda${layer}`, 8),
      }),
    ),
  );
  const [plain, optimized] = ['llama-past-dy18-sdpa', 'llama-past-dy18-sdpa+ortextended'].map((name) =>
    rewriteModel(openExport(name).model, { weights: checkpoint(tensors) }),
  );
  expect(plain?.weights?.guessed).toEqual([]);
  expect(optimized?.weights).toMatchObject({
    unused: [],
    guessed: [0, 1].map((layer) => ({
      path: `m.model.layers.${layer}.attention`,
      module: `model.layers.${layer}.self_attn`,
    })),
  });
  if (!optimized) throw new Error('no rewrite');
  const target = path.join(temporaryFolder(), `erased-${files++}.onnx`);
  writeRewritten(optimized, target, false);
  const source = openExport('llama-past-dy18-sdpa+ortextended').model;
  expect((await verifyModels(source, target, { lengths: [5], batches: [1] })).passed).toBe(true);
});

function transposed(name: string): Tensor {
  const data = numbersOf(OWN[`${name}_proj.weight`]);
  return floatTensor(
    [8, 8],
    data.map((_, i) => data[(i % 8) * 8 + Math.floor(i / 8)] ?? Number.NaN),
  );
}
