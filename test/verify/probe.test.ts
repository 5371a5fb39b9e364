/** Under other parameters every one of them shows; under its own, an opened model computes what it did. */

import { passes } from '../../passes';
import { findAttention } from '../../src/attention/find';
import { MIX_INPUT, readRecord } from '../../src/attention/record';
import { load, save } from '../../src/ir';
import { modelBytes, readModel } from '../../src/onnx';
import { matchLayers } from '../../src/verify/layer-order';
import type { LayerUnderTest } from '../../src/verify/layer-reference';
import { pathOf } from '../../src/verify/places';
import { asProbed, asStored, openParameters, smallParameters } from '../../src/verify/probe';
import { withSession } from '../../src/verify/session';
import { type Pair, verifyPair } from '../../src/verify/verify';
import { openExport } from '../support/fixtures';
import {
  expectClose,
  largestDifference,
  numbersOf,
  readTensors,
  runModel,
  type Tensors,
} from '../support/run';
import { pairOf } from './support/pairs';

const name = 'llama-dec-dy18-sdpa';
const { io } = openExport(name);

function opened(settings: Parameters<typeof pairOf>[1]) {
  const { original, rewritten } = pairOf(name, settings);
  const file = readModel(rewritten);
  const model = load(file);
  const record = readRecord(model);
  if (!record) throw new Error('no record');
  const { sites } = findAttention(load(readModel(original)), passes.recognisers);
  const layers: LayerUnderTest[] = matchLayers(record, sites).map(({ layer, site }) => ({
    layer,
    site,
    options: record.options,
    scope: pathOf(site.scope),
    showsMap: false,
    probabilities: undefined,
  }));
  const [stored, probed] = [asStored(model, layers), asProbed(model, layers)];
  openParameters(model, layers);
  return { rewritten, layers, stored, probed, bytes: modelBytes(save(model), file).read() };
}

async function runWith(bytes: Uint8Array, feeds: Tensors): Promise<Tensors> {
  return runModel(bytes, { ...readTensors(io, 'input.'), ...feeds }, { outputs: ['logits'] });
}

test.each([{}, { emit: 'inline' }, { splitHeads: true }, { mixInput: true, sublayerNorm: false }])(
  '%j: with its own parameters the opened model gives what the file gives',
  async (settings) => {
    const { rewritten, stored, bytes } = opened(settings);
    const feeds = { ...readTensors(io, 'input.'), ...stored.feeds };
    const expected = await runModel(rewritten, feeds, { outputs: ['logits'] });
    expectClose(await runWith(bytes, stored.feeds), expected, 1e-6);
  },
);

test.each([{}, { splitHeads: true }, { init: 'zero' }])(
  '%j: each of the other parameters shows',
  async (settings) => {
    const { probed, stored, layers, bytes } = opened(settings);
    const base = await runWith(bytes, probed.feeds);
    const names = [...new Set(layers.flatMap(smallParameters))];
    expect(names).toHaveLength(12);
    for (const parameter of names) {
      const own = stored.feeds[parameter];
      const changed = await runWith(bytes, { ...probed.feeds, ...(own ? { [parameter]: own } : {}) });
      expect(largestDifference(base['logits'], changed['logits'])).toBeGreaterThan(1e-3);
    }
  },
);

test('the warm-up input is turned down, and the values are as small as epsilon', () => {
  const { probed, stored, layers } = opened({ mixInput: true });
  expect(stored).toMatchObject({ mix: 1, where: '' });
  expect(probed.mix).toBeGreaterThan(0);
  expect(probed.mix).toBeLessThan(1);
  expect(numbersOf(probed.feeds[MIX_INPUT])).toEqual([probed.mix]);
  const volumes = Object.keys(probed.feeds).filter((key) => key.startsWith('diffx/'));
  expect(volumes).toHaveLength(layers.length);
  for (const key of volumes) {
    expect(numbersOf(stored.feeds[key])).toEqual([1]);
    expect(numbersOf(probed.feeds[key])[0]).toBeCloseTo(1e-3, 5);
  }
});

test('a parameter that is missing is left out here, and a finding later', async () => {
  const { original, rewritten } = pairOf(name);
  const [model, source] = [load(readModel(rewritten)), load(readModel(original))];
  const record = readRecord(model);
  if (!record) throw new Error('no record');
  const { sites } = findAttention(source, passes.recognisers);
  const path = record.layers[0]?.path ?? '';
  const renamed = { ...record, layers: record.layers.map((layer) => ({ ...layer })) };
  const value = model.graph.values.get(`${path}.lambda_k1`);
  if (!value) throw new Error('no parameter');
  model.graph.rename(value, 'another');
  const pair: Pair = {
    original: source,
    rewritten: model,
    record: renamed,
    sites,
    keepsFunction: false,
    expectedParameters: new Map(),
    prepared: [],
    prepareOriginal: () => undefined,
  };
  expect(Object.keys(asStored(model, []).feeds)).toEqual([]);
  await expect(verifyPair(pair, { lengths: [1] })).resolves.toMatchObject({ passed: false });
  await withSession(rewritten, { threads: 1 }, async ({ inputs }) =>
    expect(inputs.length).toBeGreaterThan(0),
  );
});
