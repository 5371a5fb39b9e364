/** Exchanged, the second projections hold the model's own numbers column by column, and its own hold others. */
import { passes } from '../../passes';
import { findAttention } from '../../src/attention/find';
import { readRecord } from '../../src/attention/record';
import { load, type Model } from '../../src/ir';
import { readModel } from '../../src/onnx';
import { disturbSecond, exchange } from '../../src/verify/exchange';
import { matchLayers } from '../../src/verify/layer-order';
import type { LayerUnderTest } from '../../src/verify/layer-reference';
import { pathOf } from '../../src/verify/places';
import { Draft } from './support/draft';
import { pairOf, type WrittenPair } from './support/pairs';

function opened({ original, rewritten }: WrittenPair): { model: Model; layers: LayerUnderTest[] } {
  const model = load(readModel(rewritten));
  const record = readRecord(model);
  if (!record) throw new Error('no record');
  const { sites } = findAttention(load(readModel(original)), passes.recognisers);
  const layers = matchLayers(record, sites).map(({ layer, site }) => ({
    layer,
    site,
    options: record.options,
    scope: pathOf(site.scope),
    showsMap: false,
    probabilities: undefined,
  }));
  return { model, layers };
}

function floats(model: Model, name: string): Float32Array {
  const tensor = model.graph.values.get(name)?.initializer;
  if (!tensor) throw new Error(`no ${name}`);
  return new Float32Array(new Uint8Array(model.bytes(tensor)).buffer);
}

function column(weights: Float32Array, columns: number, index: number): Float32Array {
  return weights.filter((_, at) => at % columns === index);
}

test('separate projections of [in, out]: q2 is the transpose of q, and q is turned round', () => {
  const pair = pairOf('bert-enc-dy18-eager');
  const { model, layers } = opened(pair);
  const own = floats(model, 'val_93');
  const bias = floats(model, 'm.encoder.layer.0.attention.self.query.bias');
  expect(exchange(model, layers)).toEqual([]);
  const second = floats(model, 'm.encoder.layer.0.attention.self.q2_proj.weight');
  expect(second.slice(0, 32)).toEqual(column(own, 32, 0));
  expect(second.slice(31 * 32)).toEqual(column(own, 32, 31));
  expect(floats(model, 'm.encoder.layer.0.attention.self.q2_proj.bias')).toEqual(bias);
  expect(column(floats(model, 'val_93'), 32, 0)).toEqual(column(own, 32, 31).reverse());
  expect(floats(model, 'm.encoder.layer.0.attention.self.query.bias')).toEqual(bias.slice().reverse());
});

test('packed projections: the columns of the values stay', () => {
  const { model, layers } = opened(pairOf('timm_vit-custom-ts17-sdpa'));
  const [first] = layers;
  const { tensor, outFeatures } = first?.site.query.projection ?? {};
  const name = tensor?.name ?? '';
  const own = floats(model, name);
  expect(outFeatures).toBe(96);
  expect(exchange(model, layers)).toEqual([]);
  const now = floats(model, name);
  for (let index = 0; index < 96; index++) {
    const same = column(now, 96, index).every((value, at) => value === column(own, 96, index)[at]);
    expect({ index, same }).toEqual({ index, same: index >= 64 });
  }
  const key = floats(model, `${first?.layer.path}.k2_proj.weight`);
  expect(key.slice(0, 32)).toEqual(column(own, 96, 32));
});

test('weights that two attentions share are turned round once', () => {
  const { model, layers } = opened(pairOf('albert-enc-dy18-eager'));
  expect(new Set(layers.map(({ layer }) => layer.path)).size).toBe(1);
  const name = layers[0]?.site.query.projection.bias?.tensor.name ?? '';
  const own = floats(model, name);
  expect(exchange(model, layers)).toEqual([]);
  expect(floats(model, name)).toEqual(own.slice().reverse());
});

test.each(['gpt2-dec-ts17-sdpa+int8', 'llama-dec-ts17-sdpa+q4'])(
  '%s: scales and zero points go along',
  (name) => {
    const { model, layers } = opened(pairOf(name));
    expect(exchange(model, layers)).toEqual([]);
  },
);

test('disturbed second projections hold the same numbers in another order', () => {
  const { model, layers } = opened(pairOf('bert-enc-dy18-eager', { init: 'preserve' }));
  const name = 'm.encoder.layer.1.attention.self.k2_proj.weight';
  const before = floats(model, name);
  disturbSecond(model, layers);
  expect(floats(model, name)).not.toEqual(before);
  expect(floats(model, name).sort()).toEqual(before.slice().sort());
});

test('a missing parameter is a finding for its layer, and the rest is exchanged', () => {
  const pair = pairOf('bert-enc-dy18-eager');
  const draft = new Draft(pair.rewritten);
  const path = pair.layers[0]?.path ?? '';
  const name = `${path}.q2_proj.weight`;
  draft.addInitializer('another', name, [32, 32], draft.bytes(name));
  draft.redirect(name, 'another');
  draft.initializers.delete(name);
  const { model, layers } = opened({ ...pair, rewritten: draft.write() });
  const key = floats(model, `${path}.k2_proj.weight`);
  expect(exchange(model, layers)).toEqual([{ message: `parameter '${name}' is missing`, layer: path }]);
  expect(floats(model, `${path}.k2_proj.weight`)).not.toEqual(key);
});
