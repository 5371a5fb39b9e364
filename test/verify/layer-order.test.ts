/** The layer that is named is the first in the order of the data, not of names, depth or the file. */
import { passes } from '../../passes';
import { findAttention } from '../../src/attention/find';
import { load } from '../../src/ir';
import { readModel } from '../../src/onnx';
import { firstLayer, inDataOrder, matchLayers } from '../../src/verify/layer-order';
import type { Check } from '../../src/verify/report';
import { openExport } from '../support/fixtures';

const checkWith = (...layers: (string | undefined)[]): Check => ({
  name: 'layers',
  provider: undefined,
  states: '',
  passed: false,
  inputs: undefined,
  leftOut: [],
  compared: 1,
  maxAbs: undefined,
  tolerance: undefined,
  findings: layers.map((layer) => ({ message: '', layer })),
  comparisons: {},
});

function sitesOf(name: string) {
  return findAttention(load(readModel(openExport(name).model)), passes.recognisers).sites;
}

test('an encoder comes before the decoder that reads it', () => {
  const sites = sitesOf('bart-seq-ts14-eager');
  const order = inDataOrder([...sites].reverse(), (site) => site).map(({ path }) =>
    path.replace(/^m\.model\./, ''),
  );
  expect(order).toEqual([
    'encoder.layers.0.self_attn',
    'encoder.layers.1.self_attn',
    'decoder.layers.0.self_attn',
    'decoder.layers.0.encoder_attn',
    'decoder.layers.1.self_attn',
    'decoder.layers.1.encoder_attn',
  ]);
});

test('of all that checks complain about, the first is named; findings without a layer name none', () => {
  const sites = sitesOf('bart-seq-ts14-eager');
  const [encoder = '', decoder = ''] = ['encoder.layers.1.self_attn', 'decoder.layers.0.self_attn'].map(
    (end) => sites.find(({ path }) => path.endsWith(end))?.path ?? '',
  );
  expect(firstLayer([checkWith(decoder), checkWith(undefined, encoder)], sites)).toBe(encoder);
  expect(firstLayer([checkWith(undefined)], sites)).toBeUndefined();
  expect(firstLayer([], sites)).toBeUndefined();
});

test('attentions in branches stand where their If stands', () => {
  const sites = sitesOf('llama-merged-if-ts17');
  expect(inDataOrder([...sites].reverse(), (site) => site).map(({ depth }) => depth)).toEqual([0, 1, 0, 1]);
});

test('a recorded layer belongs to one attention, and one that is not there to none', () => {
  const sites = sitesOf('llama-dec-dy18-eager');
  const output = sites[0]?.core.output.name ?? '';
  const record = { layers: [{ output }, { output }, { output: 'nothing' }] };
  expect(matchLayers(record as never, sites).map(({ site }) => site)).toEqual([sites[0]]);
});
