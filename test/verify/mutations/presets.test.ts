/** Damage to what one preset does and another does not. */
import { type DraftNode, int, setFloat, swap } from '../support/draft';
import { models, type Subject, testMutations } from '../support/mutation';

const { paper, paperInline, paperGrouped, paperOutputs, paperMirror, diffllama, diffllamaInline } = models;
const { v2, v2Inline, v2Probabilities, v2Outputs, v2Preserve, v2Cached } = models;

/** The operator of the second layer; of both layers where they call one function. */
function part({ draft, second }: Subject, name: string): DraftNode {
  return draft.part(name, second.path);
}

/** A node that the rewrite has added to the second layer. */
function added({ draft, second }: Subject, name: string): DraftNode {
  return draft.node(`${second.path}/${name}`);
}

function call({ draft, second }: Subject): DraftNode {
  return draft.node(second.node);
}

/** The operator gives what it is given. */
function skip(node: DraftNode): void {
  node.opType = 'Identity';
  node.input = [node.input[0] ?? ''];
}

// A function is called by both layers, so the first one diverges; written inline, the second one alone is damaged.
const inFunction = { layer: 'first', check: 'layers' } as const;
const inSecond = { layer: 'second', check: 'layers' } as const;

describe('adjacent heads', () => {
  /** Slice with other bounds. */
  const cut = (subject: Subject, name: string, from: number, to: number, step: number) => {
    const node = added(subject, name);
    const { draft } = subject;
    const axis = node.input[3] ?? '';
    node.input = [
      node.input[0] ?? '',
      draft.addInts([from]),
      draft.addInts([to]),
      axis,
      draft.addInts([step]),
    ];
  };
  const halves = (subject: Subject) => {
    cut(subject, 'Slice', 0, 2, 1);
    cut(subject, 'Slice_1', 2, 4, 1);
  };
  testMutations([
    { title: 'paired by halves', models: [paper, paperGrouped, paperInline], damage: halves, ...inSecond },
    {
      title: 'positive and negative heads exchanged',
      models: [paper, paperGrouped, paperInline],
      damage: (subject) => {
        cut(subject, 'Slice', 1, 4, 2);
        cut(subject, 'Slice_1', 0, 3, 2);
      },
      ...inSecond,
    },
    {
      title: 'values paired by halves',
      models: [paper],
      damage: (subject) => {
        cut(subject, 'Slice_2', 0, 2, 1);
        cut(subject, 'Slice_3', 2, 4, 1);
      },
      ...inSecond,
    },
    {
      title: 'values of another group',
      models: [paperGrouped],
      damage: (subject) => {
        // The first pair gets the values of the second head twice.
        const node = added(subject, 'Concat');
        node.input[0] = node.input[1] ?? '';
      },
      ...inSecond,
    },
    {
      title: 'the exchanged call with halves in the place of neighbours',
      models: [paperOutputs],
      damage: (subject) => {
        const { draft, second } = subject;
        const gather = draft.node(`${second.path}/Gather`);
        gather.input[1] = draft.addInts([2, 3, 0, 1]);
      },
      ...inSecond,
    },
    {
      title: 'a negative head that is no copy of its neighbour',
      models: [paperMirror],
      damage: ({ draft, first }) =>
        // Head 1 of four heads of width 8.
        draft.weight(`${first.path}.key.bias`, (bytes) => bytes.fill(0, 8 * 4, 9 * 4)),
      check: 'structure',
      layer: 'first',
    },
  ]);
});

describe('the factor (1 - lambda_init)', () => {
  const missing = (subject: Subject) => skip(part(subject, 'C'));
  const plus = (subject: Subject) => {
    part(subject, 'lambda_init_rest').opType = 'Add';
  };
  const unscaled = (subject: Subject) => {
    // lambda_init in the place of 1 - lambda_init
    swap(part(subject, 'lambda_init_rest').input, 0, 1);
  };
  testMutations([
    { title: 'left out', models: [paper, paperOutputs, diffllama], damage: missing, ...inFunction },
    { title: 'left out', models: [paperInline, diffllamaInline], damage: missing, ...inSecond },
    { title: '1 + lambda_init', models: [paper, diffllama], damage: plus, ...inFunction },
    { title: 'of the opposite sign', models: [paperGrouped], damage: unscaled, ...inFunction },
  ]);
});

describe('the norm', () => {
  testMutations([
    {
      title: 'with another epsilon than that of the paper',
      models: [paper, paperGrouped],
      damage: (subject) => setFloat(call(subject), 'epsilon', 2e-6),
      ...inSecond,
    },
    {
      title: 'left out, where it has no weight',
      models: [diffllama],
      damage: (subject) => {
        part(subject, 'C').input[0] = part(subject, 'norm_normed').input[0] ?? '';
      },
      ...inFunction,
    },
    {
      title: 'an epsilon in the record that is not that of the preset',
      models: [paper],
      damage: ({ draft }) => {
        const layers = draft.metadata.get('ai.diffx.layers') ?? '';
        draft.metadata.set('ai.diffx.layers', layers.replaceAll('"epsilon":0.00001', '"epsilon":0.001'));
      },
      check: 'record',
      layer: 'first',
    },
  ]);
});

describe('lambda per token and head', () => {
  const withoutSigmoid = (subject: Subject) => skip(part(subject, 'lambda'));
  const negated = (subject: Subject) => {
    part(subject, 'map').opType = 'Add';
  };
  /** The logits of the second layer behind one more operator. */
  const logits = (opType: string, more: (subject: Subject) => string[], attribute = [int('axis', 1)]) => {
    return (subject: Subject) => {
      const { draft, second } = subject;
      const node = call(subject);
      const at = node.input.indexOf(second.start['lambda_logits'] ?? '');
      node.input[at] = draft.insertBefore(node, opType, [node.input[at] ?? '', ...more(subject)], attribute);
    };
  };
  const otherHeads = logits('Gather', ({ draft }) => [draft.addInts([1, 0, 2, 3])]);
  const otherTokens = logits(
    'Slice',
    ({ draft }) => [[-1], [-(2 ** 31)], [2], [-1]].map((each) => draft.addInts(each)),
    [],
  );
  const negativeLogits = logits('Neg', () => [], []);
  testMutations([
    { title: 'no sigmoid', models: [v2, v2Probabilities, v2Outputs], damage: withoutSigmoid, ...inFunction },
    { title: 'no sigmoid', models: [v2Inline], damage: withoutSigmoid, ...inSecond },
    { title: 'added instead of subtracted', models: [v2, v2Probabilities], damage: negated, ...inFunction },
    { title: 'the logits of other heads', models: [v2, v2Probabilities], damage: otherHeads, ...inSecond },
    { title: 'the logits of other tokens', models: [v2, v2Probabilities], damage: otherTokens, ...inSecond },
    { title: 'logits of the opposite sign', models: [v2Outputs, v2], damage: negativeLogits, ...inSecond },
    {
      title: 'the logits of the other layer',
      models: [v2, v2Outputs, v2Cached],
      damage: (subject) => {
        const { first, second } = subject;
        const node = call(subject);
        node.input = node.input.map((name) =>
          name === second.start['lambda_logits'] ? (first.start['lambda_logits'] ?? '') : name,
        );
      },
      ...inSecond,
    },
    {
      title: 'a projection of something else than the input',
      models: [v2Probabilities],
      damage: (subject) => {
        const node = added(subject, 'lambda_proj/MatMul');
        node.input[0] = subject.draft.insertBefore(node, 'Relu', [node.input[0] ?? '']);
      },
      ...inSecond,
    },
    {
      title: 'another weight than the seed gives',
      models: [v2],
      damage: ({ draft, first }) =>
        draft.weight(`${first.path}.lambda_proj.weight`, (bytes) => bytes.fill(0, 0, 8)),
      check: 'parameters',
      layer: 'first',
    },
    {
      title: 'a weight that is not 0 where the function is kept',
      models: [v2Preserve],
      damage: ({ draft, first }) =>
        draft.weight(`${first.path}.lambda_proj.weight`, (bytes) => bytes.fill(63, 0, 4)),
      check: 'function',
      layer: 'first',
    },
    { title: 'no gain', models: [v2Preserve], damage: (subject) => skip(part(subject, 'C')), ...inFunction },
  ]);
});

describe('queries alone are doubled', () => {
  testMutations([
    {
      title: 'Q1 and Q2 exchanged',
      models: [v2],
      damage: (subject) => swap(call(subject).input, 0, 2),
      ...inSecond,
    },
    {
      title: 'negative queries in the place of the keys',
      models: [v2],
      damage: (subject) => {
        const { input } = call(subject);
        input[3] = input[2] ?? '';
      },
      ...inSecond,
    },
    {
      title: 'A1 twice',
      models: [v2Probabilities],
      damage: (subject) => {
        const { input } = call(subject);
        input[1] = input[0] ?? '';
      },
      ...inSecond,
    },
  ]);
});
