import { exchangeReaders, flipBit } from '../support/draft';
import { type Mutation, models, testMutations } from '../support/mutation';

const { scores, probabilities, probabilitiesInline, outputsInline, split, splitInline, splitMirror } = models;
const { splitOutputs, scoresZero } = models;

describe('every bit of what a rewrite adds counts', () => {
  const suffixes = ['q2_proj.weight', 'k2_proj.weight', 'lambda_q1', 'lambda_init', 'subln.weight'];
  testMutations([
    ...suffixes.map(
      (suffix): Mutation => ({
        title: `one bit of ${suffix}`,
        models: [scores, probabilitiesInline],
        damage: ({ draft, second }) => draft.weight(`${second.path}.${suffix}`, flipBit),
        check: 'parameters',
        layer: 'second',
      }),
    ),
    {
      title: 'one bit of q2_proj.bias',
      models: [scores],
      damage: ({ draft, second }) => draft.weight(`${second.path}.q2_proj.bias`, flipBit),
      check: 'parameters',
      layer: 'second',
    },
    {
      title: 'one bit of a lambda vector of zeros',
      models: [scoresZero],
      damage: ({ draft, first }) => draft.weight(`${first.path}.lambda_k1`, flipBit),
      check: 'parameters',
      layer: 'first',
    },
    {
      title: 'the data of q2 and k2 exchanged',
      models: [scores, outputsInline],
      damage: ({ draft, first: { path } }) => {
        const [q, k] = [draft.bytes(`${path}.q2_proj.weight`), draft.bytes(`${path}.k2_proj.weight`)];
        draft.setBytes(`${path}.q2_proj.weight`, k);
        draft.setBytes(`${path}.k2_proj.weight`, q);
      },
      check: 'parameters',
      layer: 'first',
    },
    {
      title: 'the data of two layers exchanged',
      models: [scores, split],
      damage: ({ draft, first, second }) => {
        const [a, b] = [draft.bytes(`${first.path}.lambda_k2`), draft.bytes(`${second.path}.lambda_k2`)];
        draft.setBytes(`${first.path}.lambda_k2`, b);
        draft.setBytes(`${second.path}.lambda_k2`, a);
      },
      check: 'parameters',
      layer: 'first',
    },
    {
      title: 'k2 in another shape',
      models: [probabilities],
      damage: ({ draft, first: { path } }) => {
        const name = `${path}.k2_proj.weight`;
        draft.addInitializer(name, name, [32, 16], draft.bytes(name));
      },
      check: 'parameters',
      layer: 'first',
      says: /has shape \[32,16\], not \[16,32\]/,
    },
    {
      title: 'a parameter under another name',
      models: [scores, splitInline],
      damage: ({ draft, second: { path } }) => {
        const name = `${path}.lambda_k2`;
        draft.addInitializer('another', name, [8], draft.bytes(name));
        draft.initializers.delete(name);
        draft.redirect(name, 'another');
      },
      check: 'parameters',
      layer: 'second',
      says: /lambda_k2' is missing/,
    },
    {
      title: 'lambda_q1 and lambda_q2 exchanged where they are read',
      models: [scores, splitInline, scoresZero],
      damage: ({ draft, second: { path } }) =>
        exchangeReaders(draft.nodes, `${path}.lambda_q1`, `${path}.lambda_q2`),
      check: 'layers',
      layer: 'second',
    },
  ]);
});

describe('every bit of the original counts', () => {
  testMutations([
    {
      title: 'one bit of an MLP bias',
      models: [scores, splitOutputs],
      damage: ({ draft }) => draft.weight('m.encoder.layer.1.intermediate.dense.bias', flipBit),
      check: 'structure',
    },
    {
      title: "one bit of the model's own query bias",
      models: [scores, outputsInline, split],
      damage: ({ draft, second }) => draft.weight(`${second.path}.query.bias`, flipBit),
      check: 'structure',
      layer: 'second',
    },
    {
      title: "one bit of the model's own query weight",
      models: [scores, splitMirror],
      damage: ({ draft }) => draft.weight('val_93', flipBit),
      check: 'structure',
      layer: 'first',
      says: /weight 'val_93' has changed/,
    },
    {
      title: 'one bit of an embedding',
      models: [probabilities],
      damage: ({ draft }) => draft.weight('m.model.embed_tokens.weight', flipBit),
      check: 'structure',
    },
    {
      title: 'a weight with the data of another of its shape',
      models: [scores],
      damage: ({ draft }) => {
        const name = (layer: number) => `m.encoder.layer.${layer}.output.dense.bias`;
        draft.setBytes(name(1), draft.bytes(name(0)));
      },
      check: 'structure',
    },
    {
      title: 'a weight that is computed now',
      models: [scores],
      damage: ({ draft }) => {
        const name = 'm.encoder.layer.1.output.dense.bias';
        draft.addInitializer('stored', name, [32], draft.bytes(name));
        draft.initializers.delete(name);
        const negated = draft.insertBefore(draft.first(), 'Neg', ['stored']);
        draft.node(negated).output = [name];
      },
      check: 'structure',
      says: /output\.dense\.bias' has changed/,
    },
  ]);
});
