/** Damage to the copied slice between projections and probabilities, which the positive component does not see. */
import { int, setInt } from '../support/draft';
import { models, type Subject, testMutations } from '../support/mutation';

const { rotary, probabilities, probabilitiesInline, outputs, outputsInline, cached } = models;
const { cachedOutputs, preserve } = models;

/** The copy of a node of the second layer, told by its operator and what the original reads. */
function copies({ draft, second }: Subject, opType: string) {
  const place = draft.nodes.indexOf(draft.node(`${second.path}/q2_proj/MatMul`));
  return draft.nodes
    .slice(place)
    .filter((node) => node.opType === opType && /\/negative(_\d+)?$/.test(node.name));
}

function copy(subject: Subject, opType: string, index = 0) {
  const found = copies(subject, opType)[index];
  if (!found) throw new Error(`no copy of ${opType} ${index}`);
  return found;
}

const caught = { check: 'mirrored', layer: 'second' } as const;

testMutations([
  {
    title: 'the mask left out',
    models: [probabilities, probabilitiesInline],
    damage: (subject) =>
      subject.draft.remove(copy(subject, 'Add', 2), copy(subject, 'MatMul').output[0] ?? ''),
    ...caught,
  },
  {
    title: 'the mask off by one key',
    models: [probabilities, preserve],
    damage: (subject) => {
      const { draft } = subject;
      const add = copy(subject, 'Add', 2);
      const slice = (from: number, to: number) =>
        draft.insertBefore(add, 'Slice', [
          add.input[1] ?? '',
          draft.addInts([from]),
          draft.addInts([to]),
          draft.addInts([-1]),
        ]);
      const parts = [slice(1, 2 ** 31 - 1), slice(0, 1)];
      add.input[1] = draft.insertBefore(add, 'Concat', parts, [int('axis', -1)]);
    },
    ...caught,
  },
  {
    title: 'the NaN guard left out of a masked row',
    models: [cached],
    damage: (subject) => {
      const where = copy(subject, 'Where');
      where.input[1] = where.input[2] ?? '';
      where.input[2] = copy(subject, 'Softmax').input[0] ?? '';
    },
    ...caught,
  },
  {
    title: 'causal where the original is not',
    models: [outputs, outputsInline],
    damage: (subject) => setInt(copy(subject, 'Attention'), 'is_causal', 1),
    ...caught,
  },
  {
    title: 'without the mask of the operator',
    models: [outputs, cachedOutputs],
    damage: (subject) => {
      const attention = copy(subject, 'Attention');
      attention.input = attention.input.slice(0, 3);
    },
    ...caught,
  },
  {
    title: 'rotary tables exchanged',
    models: [rotary, probabilities],
    damage: (subject) => {
      const [cos, sin] = [copy(subject, 'Mul', 0), copy(subject, 'Mul', 1)];
      const [a = '', b = ''] = [cos.input[1], sin.input[1]];
      cos.input[1] = b;
      sin.input[1] = a;
    },
    ...caught,
  },
  {
    title: 'one half of a rotation taken from the positive component',
    models: [rotary, probabilities, preserve],
    damage: (subject) => {
      const { draft } = subject;
      const half = copy(subject, 'Mul', 1);
      const positive = draft.node(half.name.replace(/\/negative.*/, ''));
      half.input = [...positive.input];
    },
    ...caught,
  },
  {
    title: 'negative probabilities behind the positive scores',
    models: [probabilities, preserve],
    damage: (subject) => {
      const { draft } = subject;
      const softmax = copy(subject, 'Softmax');
      softmax.input = [...draft.node(softmax.name.replace('/negative', '')).input];
    },
    ...caught,
  },
  {
    title: 'a softmax over the queries',
    models: [probabilities],
    damage: (subject) => setInt(copy(subject, 'Softmax'), 'axis', -2),
    ...caught,
  },
  {
    title: 'keys of a group repeated in another order',
    models: [rotary, probabilities],
    damage: (subject) => {
      const { draft } = subject;
      const expand = copy(subject, 'Expand');
      const value = expand.output[0] ?? '';
      const reshape = draft.reader(value);
      // [B, g, h/g, T, d]: which group a query head belongs to follows from the order of these axes.
      const turned = draft.insertBefore(reshape, 'Gather', [value, draft.addInts([1, 0])], [int('axis', 1)]);
      reshape.input = reshape.input.map((name) => (name === value ? turned : name));
    },
    ...caught,
  },
  {
    title: 'scale left out',
    models: [outputs],
    damage: (subject) => {
      const attention = copy(subject, 'Attention');
      attention.attribute = attention.attribute.map((each) =>
        each.name === 'scale' ? { ...each, f: 1 } : each,
      );
    },
    ...caught,
  },
]);
