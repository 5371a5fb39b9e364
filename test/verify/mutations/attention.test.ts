/** Damage to the operators of differential attention, in the function or written inline. */
import { type DraftNode, ints, setFloat, setInt } from '../support/draft';
import { models, type Subject, testMutations } from '../support/mutation';

const { scores, scoresInline, scoresZero, rotary, probabilities, probabilitiesInline, outputs } = models;
const { outputsInline, split, splitInline, splitOutputs, preserve, preserveInline, mixed, mixedInline } =
  models;

/** The operator of the second layer; of both layers where they call one function. */
function part({ draft, second }: Subject, name: string): DraftNode {
  return draft.part(name, second.path);
}

/** The value that an operator gives. */
function given(subject: Subject, name: string): string {
  return part(subject, name).output[0] ?? '';
}

function exchange(node: DraftNode, a: number, b: number): void {
  const [first = '', second = ''] = [node.input[a], node.input[b]];
  node.input[a] = second;
  node.input[b] = first;
}

/** A call of the function in the second layer. */
function call({ draft, second }: Subject): DraftNode {
  return draft.node(second.node);
}

// A function is called by both layers, so the first one diverges; written inline, the second one alone is damaged.
const inFunction = { layer: 'first', check: 'layers' } as const;
const inSecond = { layer: 'second', check: 'layers' } as const;

describe('lambda', () => {
  const withoutInit = (subject: Subject) => {
    part(subject, 'lambda').input = [
      given(subject, 'lambda_difference'),
      given(subject, 'lambda_difference'),
    ];
    part(subject, 'lambda').opType = 'Min';
  };
  const minusMinus = (subject: Subject) => exchange(part(subject, 'lambda_difference'), 0, 1);
  const sameExponent = (subject: Subject) => {
    part(subject, 'lambda2').input = [...part(subject, 'lambda1').input];
  };
  testMutations([
    { title: 'without lambda_init', models: [scores, split, outputs], damage: withoutInit, ...inFunction },
    { title: 'without lambda_init', models: [scoresInline, splitInline], damage: withoutInit, ...inSecond },
    {
      title: 'its exponents exchanged',
      models: [probabilities, scoresZero],
      damage: minusMinus,
      ...inFunction,
    },
    { title: 'its exponents exchanged', models: [probabilitiesInline], damage: minusMinus, ...inSecond },
    { title: 'one exponent twice', models: [preserve, splitOutputs], damage: sameExponent, ...inFunction },
    { title: 'one exponent twice', models: [preserveInline], damage: sameExponent, ...inSecond },
  ]);
});

describe('the difference', () => {
  const added = (name: string) => (subject: Subject) => {
    part(subject, name).opType = 'Add';
  };
  const turned = (name: string) => (subject: Subject) => exchange(part(subject, name), 0, 1);
  testMutations([
    { title: 'Add for Sub', models: [scores, split, probabilities], damage: added('map'), ...inFunction },
    { title: 'Add for Sub', models: [scoresInline, splitInline], damage: added('map'), ...inSecond },
    { title: 'Add for Sub', models: [outputs, splitOutputs], damage: added('difference'), ...inFunction },
    { title: 'Add for Sub', models: [outputsInline], damage: added('difference'), ...inSecond },
    { title: 'turned round', models: [scores, split], damage: turned('map'), ...inFunction },
    { title: 'turned round', models: [preserveInline], damage: turned('difference'), ...inSecond },
  ]);
});

describe('the scores', () => {
  const wrongAxis = (subject: Subject) => setInt(part(subject, 'A2'), 'axis', -2);
  const withoutScale = (subject: Subject) => {
    part(subject, 'scores2_biased').input[0] = given(subject, 'scores2');
  };
  const scaleSquared = (subject: Subject) => {
    const body = subject.draft.functions[0]?.nodes ?? subject.draft.nodes;
    const scaled = part(subject, 'scores2_scaled');
    const again = {
      ...scaled,
      name: 'again',
      input: [given(subject, 'scores2_scaled'), scaled.input[1] ?? ''],
    };
    body.splice(body.indexOf(scaled) + 1, 0, { ...again, output: ['again'] });
    part(subject, 'scores2_biased').input[0] = 'again';
  };
  const withoutMask = (subject: Subject) => {
    part(subject, 'A2').input = [given(subject, 'scores2_scaled')];
  };
  const turnedKeys = (subject: Subject) => {
    part(subject, 'K2_transposed').attribute = [ints('perm', [0, 1, 2, 3])];
    part(subject, 'scores2').input[1] = part(subject, 'K1_transposed').output[0] ?? '';
  };
  const cases = { models: [scores, rotary], ...inFunction };
  const inline = { models: [scoresInline], ...inSecond };
  testMutations([
    { title: 'a softmax over the queries', damage: wrongAxis, ...cases },
    { title: 'a softmax over the queries', damage: wrongAxis, ...inline },
    { title: 'without scale', damage: withoutScale, ...cases },
    { title: 'without scale', damage: withoutScale, ...inline },
    { title: 'scaled twice', damage: scaleSquared, ...cases },
    { title: 'scaled twice', damage: scaleSquared, ...inline },
    { title: 'without mask', damage: withoutMask, ...cases },
    { title: 'without mask', damage: withoutMask, ...inline },
    { title: 'negative queries against positive keys', damage: turnedKeys, ...cases },
    { title: 'negative queries against positive keys', damage: turnedKeys, ...inline },
  ]);
});

describe('the call', () => {
  const exchanged = (a: number, b: number) => (subject: Subject) => exchange(call(subject), a, b);
  testMutations([
    { title: 'Q1 and Q2 exchanged', models: [scores, rotary], damage: exchanged(0, 2), ...inSecond },
    { title: 'K1 and K2 exchanged', models: [scores, rotary], damage: exchanged(1, 3), ...inSecond },
    {
      title: 'A1 and A2 exchanged',
      models: [probabilities, split],
      damage: exchanged(0, 1),
      ...inSecond,
    },
    {
      title: 'A1 and A2 exchanged where one is a copy of the other',
      models: [preserve],
      damage: exchanged(0, 1),
      check: 'neutralised',
      layer: 'second',
    },
    { title: 'Y1 and Y2 exchanged', models: [outputs, splitOutputs], damage: exchanged(0, 1), ...inSecond },
    {
      title: 'the mask of nothing',
      models: [scores],
      damage: (subject) => {
        const { draft, second } = subject;
        const node = call(subject);
        const at = node.input.indexOf(second.start['bias'] ?? '');
        const zero = draft.insertBefore(node, 'Sub', [node.input[at] ?? '', node.input[at] ?? '']);
        node.input[at] = zero;
      },
      ...inSecond,
    },
    {
      title: 'the parameters of the other layer',
      models: [probabilities, splitOutputs],
      damage: (subject) => {
        const { first, second } = subject;
        const node = call(subject);
        node.input = node.input.map((name) =>
          name === `${second.path}.lambda_init` ? `${first.path}.lambda_init` : name,
        );
      },
      ...inSecond,
    },
    {
      title: 'the values of the other layer',
      models: [scores, probabilities],
      damage: (subject) => {
        const { first, second } = subject;
        const node = call(subject);
        node.input = node.input.map((name) => (name === second.start['V'] ? (first.start['V'] ?? '') : name));
      },
      ...inSecond,
    },
  ]);
});

describe('the norm', () => {
  const all = [scores, probabilities, outputs, split, splitOutputs];
  const inlines = [scoresInline, probabilitiesInline, outputsInline, splitInline];
  const withoutWeight = (subject: Subject) => {
    const last = part(subject, 'C');
    last.opType = 'Identity';
    last.input = [given(subject, 'norm_normed')];
  };
  const withoutSquare = (subject: Subject) => {
    part(subject, 'norm_mean').input[0] = part(subject, 'norm_normed').input[0] ?? '';
  };
  const withoutNorm = (subject: Subject) => {
    part(subject, 'C').input[0] = part(subject, 'norm_normed').input[0] ?? '';
  };
  const epsilonInline = (subject: Subject) => setFloat(part(subject, 'norm_epsilon'), 'value_float', 2e-6);
  testMutations([
    {
      title: 'with another epsilon',
      models: all,
      damage: (subject) => setFloat(call(subject), 'epsilon', 2e-6),
      ...inSecond,
    },
    { title: 'with another epsilon', models: inlines, damage: epsilonInline, ...inSecond },
    { title: 'without its weight', models: all, damage: withoutWeight, ...inFunction },
    { title: 'without its weight', models: inlines, damage: withoutWeight, ...inSecond },
    {
      title: 'of the mean instead of the mean square',
      models: [scores, split],
      damage: withoutSquare,
      ...inFunction,
    },
    { title: 'left out', models: [probabilities, splitOutputs], damage: withoutNorm, ...inFunction },
    { title: 'left out', models: [scoresInline], damage: withoutNorm, ...inSecond },
  ]);
});

describe('the gain and the warm-up', () => {
  const withoutGain = (subject: Subject) => {
    const last = part(subject, 'C');
    last.opType = 'Identity';
    last.input = [last.input[0] ?? ''];
  };
  const withoutMix = (subject: Subject) => {
    const mixed = part(subject, 'lambda_mixed');
    mixed.opType = 'Identity';
    mixed.input = [mixed.input[0] ?? ''];
  };
  const gainWithoutMix = (subject: Subject) => {
    const share = part(subject, 'lambda_init_mixed');
    share.opType = 'Identity';
    share.input = [share.input[0] ?? ''];
  };
  testMutations([
    { title: 'no gain', models: [preserve, mixed], damage: withoutGain, ...inFunction },
    { title: 'no gain', models: [preserveInline], damage: withoutGain, ...inSecond },
    { title: 'lambda that ignores the warm-up', models: [mixed], damage: withoutMix, ...inFunction },
    { title: 'lambda that ignores the warm-up', models: [mixedInline], damage: withoutMix, ...inSecond },
    { title: 'a gain that ignores the warm-up', models: [mixed], damage: gainWithoutMix, ...inFunction },
    {
      title: 'no gain, seen in the outputs',
      models: [preserve],
      damage: withoutGain,
      check: 'function',
      layer: 'first',
    },
  ]);
});
