/** Damage to how heads are paired in split mode. */
import { int, setInts, swap } from '../support/draft';
import { models, type Subject, testMutations } from '../support/mutation';

const { split, splitInline, splitGrouped, splitOutputs, splitMirror } = models;

/** A node that the rewrite has added to the second layer. */
function added({ draft, second }: Subject, name: string) {
  return draft.node(`${second.path}/${name}`);
}

const caught = { check: 'layers', layer: 'second' } as const;

testMutations([
  {
    title: 'the halves of the heads exchanged',
    models: [split, splitGrouped, splitInline],
    damage: (subject) => swap(added(subject, 'Split').output, 0, 1),
    ...caught,
  },
  {
    title: 'heads halved on another axis of their size',
    models: [split],
    damage: (subject) => {
      // Heads 0, 2 | 1, 3 instead of 0, 1 | 2, 3.
      const { draft } = subject;
      const cut = added(subject, 'Split');
      cut.input[0] = draft.insertBefore(
        cut,
        'Gather',
        [cut.input[0] ?? '', draft.addInts([0, 2, 1, 3])],
        [int('axis', 1)],
      );
    },
    ...caught,
  },
  {
    title: 'values paired the other way round',
    models: [split, splitGrouped],
    damage: (subject) => swap(added(subject, 'Concat').input, 0, 1),
    ...caught,
  },
  {
    title: 'one half of the values twice',
    models: [split, splitInline],
    damage: (subject) => {
      const pair = added(subject, 'Concat');
      pair.input[1] = pair.input[0] ?? '';
    },
    ...caught,
  },
  {
    title: 'values of the exchanged call paired the other way round',
    models: [splitOutputs],
    damage: (subject) => swap(added(subject, 'Concat_2').input, 0, 1),
    ...caught,
  },
  {
    title: 'the exchanged call with the values as they are',
    models: [splitOutputs],
    damage: (subject) => {
      const call = subject.draft.node((node) => /_1\/exchanged$/.test(node.name));
      const own = subject.draft.node(call.name.replace('/exchanged', ''));
      call.input = [...own.input];
    },
    ...caught,
  },
  {
    title: 'the result laid out in another order of heads',
    models: [split, splitGrouped, splitOutputs],
    damage: (subject) => setInts(added(subject, 'Transpose'), 'perm', [0, 3, 1, 2, 4]),
    ...caught,
  },
  {
    title: 'the result not laid out at all',
    models: [split, splitInline],
    damage: (subject) => setInts(added(subject, 'Transpose'), 'perm', [0, 1, 2, 3, 4]),
    ...caught,
  },
  {
    title: "a half that is no copy of the model's own",
    models: [splitMirror],
    damage: ({ draft, first }) => draft.weight(`${first.path}.key.bias`, (bytes) => bytes.fill(0, 0, 4)),
    check: 'structure',
    layer: 'first',
  },
]);
