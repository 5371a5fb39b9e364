import { METADATA } from '../../../src/attention/record';
import type { Draft } from '../support/draft';
import { type Rewritten, testMutations } from '../support/mutation';

const monitored = (name: string, settings: Rewritten['settings'] = {}): Rewritten => ({
  name,
  settings: { ...settings, monitorLayers: 2 },
});

const scores = monitored('bert-enc-dy18-eager');
const probabilities = monitored('llama-dec-dy18-sdpa');
/** Both components are equal in the file. */
const mirror = monitored('llama-dec-dy18-sdpa', { init: 'mirror' });
const split = monitored('llama-dec-dy18-sdpa', { splitHeads: true });
const outputs = monitored('bert-enc-dy23-sdpa');

/** The node that gives a metric. */
const giving = (draft: Draft, metric: string) => draft.producer(metric);

testMutations([
  {
    title: 'the deviations of the components are exchanged',
    models: [scores, mirror, split, outputs],
    damage: ({ draft }) => {
      const [first, second] = ['layer_1/attn1_std', 'layer_1/attn2_std'].map((name) => giving(draft, name));
      if (first && second) [first.input, second.input] = [second.input, first.input];
    },
    check: 'monitored',
    layer: 'second',
    says: /layer_1\/attn1_std: 1 elements differ/,
  },
  {
    title: 'the metrics of one layer are those of another',
    models: [outputs],
    damage: ({ draft }) => {
      giving(draft, 'layer_0/attn2_std').input = giving(draft, 'layer_1/attn2_std').input;
      draft.nodes.push(...draft.nodes.splice(draft.nodes.indexOf(giving(draft, 'layer_0/attn2_std')), 1));
    },
    check: 'monitored',
    layer: 'first',
  },
  {
    title: 'the deviation is that of all elements, not of a sample',
    models: [scores, split],
    damage: ({ draft }) => {
      const variance = draft.producer(giving(draft, 'layer_0/attn1_std').input[0] ?? '');
      const count = draft.producer(variance.input[1] ?? '');
      variance.input = [variance.input[0] ?? '', count.input[0] ?? ''];
    },
    check: 'monitored',
    layer: 'first',
  },
  {
    title: 'an output with a metric is missing',
    models: [probabilities],
    damage: ({ draft }) => {
      draft.outputs = draft.outputs.filter(({ name }) => name !== 'layer_1/attn1_mean');
    },
    check: 'monitored',
    layer: 'second',
  },
  {
    title: 'no outputs with metrics, and no record of any',
    models: [outputs],
    damage: ({ draft }) => {
      draft.outputs = draft.outputs.filter(({ name }) => !name?.startsWith('layer_'));
      draft.metadata.delete(METADATA.monitored);
    },
    check: 'monitored',
    layer: 'first',
    says: /is not monitored, and the recorded options choose it/,
  },
  {
    title: 'an output that nobody asked for',
    models: [probabilities],
    damage: ({ draft }) => {
      const [first] = draft.outputs;
      if (first) draft.outputs.push({ ...first, name: draft.first().output[0] ?? '' });
    },
    check: 'structure',
  },
  {
    title: 'a record that calls an output of the original a metric',
    models: [probabilities],
    damage: ({ draft }) => {
      const given = draft.metadata.get(METADATA.monitored) ?? '';
      draft.metadata.set(METADATA.monitored, given.replace('layer_0/attn1_mean', 'logits'));
    },
    check: 'monitored',
    layer: 'first',
  },
  {
    title: 'a record of layers that the options do not choose',
    models: [probabilities],
    damage: ({ draft }) => {
      const options = JSON.parse(draft.metadata.get(METADATA.options) ?? '');
      draft.metadata.set(METADATA.options, JSON.stringify({ ...options, monitorLayers: 1 }));
    },
    check: 'monitored',
    layer: 'second',
    says: /is monitored, and the recorded options do not choose it/,
  },
]);
