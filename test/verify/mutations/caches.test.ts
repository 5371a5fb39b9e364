/** Damage to the key cache of duplicate mode: 2g heads, those of the positive component first. */
import { swap } from '../support/draft';
import { models, testMutations } from '../support/mutation';

const { cached, cachedOutputs } = models;

testMutations([
  {
    title: 'negative keys before the positive ones in a present',
    models: [cached, cachedOutputs],
    damage: ({ draft }) => swap(draft.producer('present.1.key').input, 0, 1),
    check: 'neutralised',
  },
  {
    title: 'positive keys twice in a present',
    models: [cached],
    damage: ({ draft }) => {
      const { input } = draft.producer('present.0.key');
      input[1] = input[0] ?? '';
    },
    check: 'mirrored',
  },
  {
    title: 'the halves of a past exchanged',
    models: [cached, cachedOutputs],
    damage: ({ draft }) =>
      swap(draft.reader('past_key_values.0.key', ({ opType }) => opType === 'Split').output, 0, 1),
    check: 'neutralised',
    layer: 'first',
  },
  {
    title: 'the positive past for the negative keys',
    models: [cached],
    damage: ({ draft }) => {
      const [positive = '', negative = ''] = draft.reader(
        'past_key_values.1.key',
        ({ opType }) => opType === 'Split',
      ).output;
      draft.redirect(negative, positive);
    },
    check: 'mirrored',
    layer: 'second',
  },
  {
    title: 'the past of the other layer for the negative keys',
    models: [cached],
    damage: ({ draft }) => {
      const negative = (layer: number) =>
        draft.reader(`past_key_values.${layer}.key`, ({ opType }) => opType === 'Split').output[1] ?? '';
      draft.redirect(negative(1), negative(0));
    },
    check: 'mirrored',
    layer: 'second',
  },
  {
    title: 'a past that keeps its size',
    models: [cached],
    damage: ({ draft }) => {
      const value = draft.inputs.find(({ name }) => name === 'past_key_values.0.value');
      draft.inputs = draft.inputs.map((input) =>
        input.name === 'past_key_values.0.key' ? { ...value, name: input.name, metadataProps: [] } : input,
      );
    },
    check: 'structure',
    says: /input 'past_key_values.0.key' has another type/,
  },
]);
