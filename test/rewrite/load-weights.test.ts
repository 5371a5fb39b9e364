import { type RewriteFileSettings, rewriteModel } from '../../src/api/rewrite';
import type { Model } from '../../src/ir';
import { DataType } from '../../src/onnx/data-types';
import { decodeFloats, encodeFloats } from '../../src/onnx/floats';
import { tensorFromBytes } from '../../src/verify/tensor';
import { forms } from '../support/attention-forms';
import { ATTENTION } from '../support/attention-text';
import { checkpoint, randomTensor } from '../support/checkpoints';
import { openExport } from '../support/fixtures';
import { modelPath, textBytes, textModel, thrownBy } from '../support/models';
import { parameter } from '../support/reference';
import { floatTensor, intTensor, type Tensor, type Tensors } from '../support/run';

const random = randomTensor(11);

function rewritten(tensors: Tensors, settings: RewriteFileSettings = {}, text = ATTENTION) {
  return rewriteModel(modelPath(textBytes(text)), { ...settings, weights: checkpoint(tensors) });
}

const numbers = (tensor: Tensor | undefined) => [...((tensor?.data as Float32Array | undefined) ?? [])];

/** Every parameter of the attention of ATTENTION under diffx's own names, below a prefix. */
function own(prefix: string): Tensors {
  const tensors = {
    'q2_proj.weight': random('q2', 8, 8),
    'k2_proj.weight': random('k2', 8, 8),
    lambda_q1: random('q1', 4),
    lambda_k1: random('k1', 4),
    lambda_q2: random('q2', 4),
    lambda_k2: random('k2', 4),
    lambda_init: random('init'),
    'subln.weight': random('subln', 4),
  };
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [`${prefix}${name}`, tensor]));
}

describe('names', () => {
  test.each(['layers.0.attn.', 'model.layers.0.attn.', 'base_model.model.transformer.layers.0.attn.'])(
    'below %s fill everything',
    (prefix) => {
      const tensors = own(prefix);
      const { model, weights } = rewritten(tensors);
      expect(weights).toMatchObject({ initialised: [], unused: [] });
      for (const [name, tensor] of Object.entries(tensors)) {
        expect([...parameter(model, name.slice(prefix.length))]).toEqual(numbers(tensor));
      }
    },
  );

  test('of a checkpoint may lack what the exporter put in front', () => {
    const { model } = openExport('bert-enc-ts14-eager');
    const lambda = random('lambda', 8);
    const output = rewriteModel(model, {
      weights: checkpoint({ 'layer.1.attention.self.lambda_q1': lambda }),
    });
    expect(output.weights?.loaded.map(({ parameter }) => parameter)).toEqual([
      'm.encoder.layer.1.attention.self.lambda_q1',
    ]);
  });

  test('of another layer are of another layer', () => {
    const { weights } = rewritten({
      'layers.10.attn.lambda_q1': random('a', 4),
      '0.layers.0.attn.lambda_k1': random('b', 4),
      'layers.0.attn.lambda_q2': random('c', 4),
    });
    expect(weights?.loaded.map(({ key }) => key)).toEqual(['layers.0.attn.lambda_q2']);
    expect(weights?.unused).toHaveLength(2);
  });

  test('that fit twice are an error', () => {
    const error = thrownBy(() =>
      rewritten({ 'a.layers.0.attn.lambda_q1': random('a', 4), 'b.layers.0.attn.lambda_q1': random('b', 4) }),
    );
    expect(error).toMatchObject({ code: 'ambiguous-keys', exitCode: 2 });
    expect(error.message).toContain('a.layers.0.attn.lambda_q1 and b.layers.0.attn.lambda_q1');
  });

  test('that belong nowhere are listed, and so is what was not filled', () => {
    const { weights } = rewritten({
      'layers.0.attn.lambda_q1': random('a', 4),
      'optimizer.step': random('b', 1),
    });
    expect(weights?.unused).toEqual(['optimizer.step']);
    expect(new Set(weights?.initialised)).toEqual(
      new Set(Object.keys(own('layers.0.attn.')).filter((name) => !name.endsWith('lambda_q1'))),
    );
  });
});

/** Columns of a stored weight that hold one side, as rows [out, in]. */
function storedRows(
  model: Model,
  name: string,
  columns: readonly number[],
  count: number,
  outFirst: boolean,
): number[] {
  const tensor = model.graph.values.get(name)?.initializer;
  if (!tensor) throw new Error(`no ${name}`);
  const all = decodeFloats(tensor.dataType as 1, model.bytes(tensor));
  return columns.flatMap((column) =>
    Array.from({ length: 8 }, (_, i) => all[outFirst ? column * 8 + i : i * count + column] ?? Number.NaN),
  );
}

describe.each(forms)('the layout of axolotl, into $what', (form) => {
  const path = 'layers.0.attn';
  const sides = [
    ['q', form.query],
    ['k', form.key],
  ] as const;
  const tall = Object.fromEntries(
    sides.flatMap(([side, { order, bias }]) => [
      [`${path}.${side}_proj.weight`, random(side, 2 * order.length, 8)],
      ...(bias ? [[`${path}.${side}_proj.bias`, random(`${side} bias`, 2 * order.length)]] : []),
    ]),
  );

  test('positive rows go into the columns of the model, negative ones into the second projection', () => {
    const { model, weights } = rewritten(tall, {}, form.text);
    expect(weights?.unused).toEqual([]);
    for (const [side, { weight, bias, columns, order, outFirst }] of sides) {
      const rows = numbers(tall[`${path}.${side}_proj.weight`]);
      const half = rows.length / 2;
      expect(storedRows(model, weight, order, columns, outFirst ?? false)).toEqual(rows.slice(0, half));
      expect([...parameter(model, `${side}2_proj.weight`)]).toEqual(rows.slice(half));
      if (!bias) continue;
      const vector = numbers(tall[`${path}.${side}_proj.bias`]);
      const stored = model.graph.values.get(bias)?.initializer;
      const all = stored ? decodeFloats(stored.dataType as 1, model.bytes(stored)) : [];
      expect(order.map((column) => all[column])).toEqual(vector.slice(0, order.length));
      expect([...parameter(model, `${side}2_proj.bias`)]).toEqual(vector.slice(order.length));
    }
  });

  test('what else a packed weight holds stays', () => {
    const { model } = rewritten(tall, {}, form.text);
    const { weight, columns, outFirst } = form.query;
    const touched = new Set(
      sides.filter(([, side]) => side.weight === weight).flatMap(([, side]) => side.order),
    );
    const others = Array.from({ length: columns }, (_, i) => i).filter((column) => !touched.has(column));
    const source = textModel(form.text);
    expect(storedRows(model, weight, others, columns, outFirst ?? false)).toEqual(
      storedRows(source, weight, others, columns, outFirst ?? false),
    );
  });
});

describe('a projection as tall as the model has it', () => {
  const single = { 'layers.0.attn.q_proj.weight': random('q', 8, 8) };

  test('fills the positive side; the negative one keeps its initial values', () => {
    const { model, weights } = rewritten(single);
    expect(storedRows(model, 'layers.0.attn.q_proj.weight', [...Array(8).keys()], 8, false)).toEqual(
      numbers(single['layers.0.attn.q_proj.weight']),
    );
    expect(weights?.initialised).toContain('layers.0.attn.q2_proj.weight');
    expect([...parameter(model, 'q2_proj.weight')]).toEqual([
      ...parameter(rewriteModel(modelPath(textBytes(ATTENTION))).model, 'q2_proj.weight'),
    ]);
  });

  test.each(['mirror', 'preserve'])('%s copies what was loaded', (init) => {
    const { model } = rewritten(single, { init });
    expect([...parameter(model, 'q2_proj.weight')]).toEqual(numbers(single['layers.0.attn.q_proj.weight']));
  });
});

describe('a wrong shape is an error that names the key and both shapes', () => {
  test.each<[string, number[], string]>([
    ['layers.0.attn.lambda_q1', [5], "'layers.0.attn.lambda_q1' needs [4]"],
    ['layers.0.attn.lambda_q1', [2, 2], "'layers.0.attn.lambda_q1' needs [4]"],
    ['layers.0.attn.subln.weight', [8], "'layers.0.attn.subln.weight' needs [4]"],
    ['layers.0.attn.q2_proj.weight', [8, 7], "'layers.0.attn.q2_proj.weight' needs [8, 8]"],
    ['layers.0.attn.q2_proj.weight', [16, 4], "'layers.0.attn.q2_proj.weight' needs [8, 8]"],
    ['layers.0.attn.q2_proj.weight', [4, 16], "'layers.0.attn.q2_proj.weight' needs [8, 8]"],
    ['layers.0.attn.q_proj.weight', [12, 8], "'layers.0.attn.q_proj.weight' needs [16, 8]"],
    ['layers.0.attn.k_proj.weight', [16, 7], "'layers.0.attn.k_proj.weight' needs [8, 8]"],
  ])('%s of [%s]', (name, shape, needs) => {
    const error = thrownBy(() => rewritten({ [name]: random('w', ...shape) }));
    expect(error).toMatchObject({ code: 'wrong-shape', exitCode: 2 });
    expect(error.message).toContain(`'${name}' has shape [${shape.join(', ')}], ${needs}`);
  });

  test('the norm of split heads is twice as wide', () => {
    const { model } = rewritten({ 'layers.0.attn.subln.weight': random('s', 8) }, { splitHeads: true });
    expect([...parameter(model, 'subln.weight')]).toEqual(numbers(random('s', 8)));
    expect(
      thrownBy(() => rewritten({ 'layers.0.attn.subln.weight': random('s', 4) }, { splitHeads: true })).code,
    ).toBe('wrong-shape');
  });
});

test('a number may be stored as a vector of one', () => {
  const { model } = rewritten({ 'layers.0.attn.lambda_init': floatTensor([1], [0.25]) });
  expect([...parameter(model, 'lambda_init')]).toEqual([0.25]);
});

test('quantized second projections are said to keep their initial values', () => {
  const { model } = openExport('bert-enc-ts14-eager+int8');
  const weight = random('w', 32);
  const { weights } = rewriteModel(model, {
    init: 'mirror',
    weights: checkpoint({ 'encoder.layer.0.attention.output.LayerNorm.weight': weight }),
  });
  expect(weights?.initialised).toContain('m.encoder.layer.0.attention.self.q2_proj.weight');
  expect(weights?.initialised).toContain('m.encoder.layer.0.attention.self.k2_proj.weight_scale');
});

describe('strict weights', () => {
  const strict = (tensors: Tensors) => () => rewritten(tensors, { strictWeights: true });

  test('accept a checkpoint that fits exactly', () => {
    expect(strict(own('layers.0.attn.'))().weights).toMatchObject({ initialised: [], unused: [] });
  });

  test('refuse one that lacks a parameter, by its name', () => {
    const { 'layers.0.attn.lambda_k2': _, ...rest } = own('layers.0.attn.');
    const error = thrownBy(strict(rest));
    expect(error).toMatchObject({ code: 'loose-weights', exitCode: 2 });
    expect(error.message).toMatch(/1 new parameters are not in it: 'layers\.0\.attn\.lambda_k2'$/);
  });

  test('refuse one with a key of no use, by its name', () => {
    const error = thrownBy(strict({ ...own('layers.0.attn.'), 'optimizer.step': random('s', 1) }));
    expect(error).toMatchObject({ code: 'loose-weights', exitCode: 2 });
    expect(error.message).toMatch(/nothing written: 1 of its keys belong nowhere: 'optimizer\.step'$/);
  });
});

describe('element types', () => {
  const values = [1, -0.5, 0.25, 3];

  test.each([DataType.FLOAT16, DataType.BFLOAT16, DataType.DOUBLE] as const)('%i is converted', (dtype) => {
    const bytes = encodeFloats(dtype, Float32Array.from(values));
    const { model } = rewritten({ 'layers.0.attn.lambda_q1': tensorFromBytes(dtype, [4], bytes) });
    expect([...parameter(model, 'lambda_q1')]).toEqual(values);
  });

  test('float32 goes into a float16 model as float16', () => {
    const { model } = openExport('llama-dec-ts17-sdpa+fp16');
    const name = 'model.layers.0.self_attn';
    const weights = checkpoint({ [`${name}.q2_proj.weight`]: random('w', 32, 32) });
    const output = rewriteModel(model, { weights });
    const tensor = output.model.graph.values.get(`m.${name}.q2_proj.weight`)?.initializer;
    expect(tensor?.dataType).toBe(DataType.FLOAT16);
    parameter(output.model, 'q2_proj.weight', `m.${name}`).forEach((value, i) => {
      expect(value).toBeCloseTo(Number(random('w', 32, 32).data[i]), 3);
    });
  });

  test('integers are an error', () => {
    const error = thrownBy(() => rewritten({ 'layers.0.attn.lambda_q1': intTensor([4], [1, 2, 3, 4]) }));
    expect(error).toMatchObject({ code: 'wrong-type', exitCode: 2 });
  });
});
