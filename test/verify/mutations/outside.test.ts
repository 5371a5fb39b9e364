import { setFloat, swap } from '../support/draft';
import { models, testMutations } from '../support/mutation';

const { scores, scoresInline, probabilities, outputs, split, splitInline, splitGrouped, cached } = models;

describe('a node outside the attentions', () => {
  testMutations([
    {
      title: 'with another attribute',
      models: [scores, split],
      damage: ({ draft }) => setFloat(draft.node('node_layer_norm_1'), 'epsilon', 1e-11),
      check: 'structure',
      says: /node 'node_layer_norm_1' has changed/,
    },
    // What is damaged between the two attentions makes the second one diverge first.
    {
      title: 'that passes one operand of a residual on',
      models: [scores, outputs],
      damage: ({ draft }) => {
        const add = draft.reader('linear_3');
        add.opType = 'Identity';
        add.input = ['linear_3'];
      },
      check: 'structure',
      layer: 'second',
      says: /is Identity and was Add/,
    },
    {
      title: 'that reads another value',
      models: [scores],
      damage: ({ draft }) => {
        draft.reader('linear_3').input = ['linear_3', 'linear_3'];
      },
      check: 'structure',
      layer: 'second',
      says: /reads 'linear_3' and read 'layer_norm'/,
    },
    {
      title: 'that reads another value, heads split',
      models: [splitInline],
      damage: ({ draft }) => {
        draft.reader('linear_3').input = ['linear_3', 'linear_3'];
      },
      check: 'structure',
      says: /reads 'linear_3' and read 'layer_norm'/,
    },
    {
      title: 'left out, its readers served from elsewhere',
      models: [scores, outputs],
      damage: ({ draft }) =>
        draft.remove(draft.producer('layer_norm_1'), draft.reader('linear_3').output[0] ?? ''),
      check: 'structure',
      layer: 'second',
      says: /'node_layer_norm_1' is missing/,
    },
    {
      title: 'in another place of the order',
      models: [scores],
      damage: ({ draft }) => swap(draft.nodes, 0, 2),
      check: 'structure',
      says: /does not stand where it stood/,
    },
  ]);
});

describe("the model's signature and versions", () => {
  testMutations([
    {
      title: 'an output under another name',
      models: [scores, split],
      damage: ({ draft }) => {
        const [output] = draft.outputs;
        const name = output?.name ?? '';
        draft.outputs = [{ ...output, name: 'renamed', metadataProps: [] }, ...draft.outputs.slice(1)];
        draft.producer(name).output = ['renamed'];
        draft.redirect(name, 'renamed');
      },
      check: 'structure',
      says: /output 0 is 'renamed'/,
    },
    {
      title: 'outputs in another order',
      models: [cached],
      damage: ({ draft }) => swap(draft.outputs, 0, 1),
      check: 'structure',
      says: /output 0 is/,
    },
    {
      title: 'one more output',
      models: [probabilities],
      damage: ({ draft, first }) => draft.outputs.push({ name: first.output, metadataProps: [] }),
      check: 'structure',
    },
    {
      title: 'an input of another type',
      models: [cached],
      damage: ({ draft }) => {
        draft.inputs = draft.inputs.map((input) =>
          input.name === 'past_key_values.0.value'
            ? { ...input, type: { tensorType: { elemType: 1 } } }
            : input,
        );
      },
      check: 'structure',
      says: /input 'past_key_values.0.value' has another type/,
    },
    {
      title: 'a function of another operator set',
      models: [scores, splitGrouped],
      damage: ({ draft }) => {
        const [fn] = draft.functions;
        if (!fn) throw new Error('no function');
        const opsetImport = [{ domain: '', version: 20n }];
        draft.functions[0] = { ...fn, rest: { ...fn.rest, opsetImport } };
      },
      check: 'structure',
      says: /uses another operator set '' than the model: 20/,
    },
    {
      title: 'another operator set',
      models: [scoresInline],
      damage: ({ draft }) => {
        for (const opset of draft.opsets) if (opset.domain === '') opset.version = 19n;
      },
      check: 'structure',
      says: /operator set '' is 19 and was 18/,
    },
  ]);
});
