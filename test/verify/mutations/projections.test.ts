import { exchangeReaders, int } from '../support/draft';
import { models, type Subject, testMutations } from '../support/mutation';

const { scores, scoresInline, rotary, probabilities, outputs, outputsInline, preserve, cached } = models;

/** The products by which a layer projects its own queries and keys. */
function ownProducts({ draft, first }: Subject) {
  const input = draft.node(`${first.path}/q2_proj/MatMul`).input[0];
  const [query, key] = draft.nodes.filter(
    ({ opType, input: [read] }) => opType === 'MatMul' && read === input,
  );
  if (!query || !key) throw new Error('no projections');
  return { query, key };
}

testMutations([
  {
    title: 'q2 and k2 exchanged where they are read',
    models: [scores, scoresInline, outputs],
    damage: ({ draft, second: { path } }) =>
      exchangeReaders(draft.nodes, `${path}.q2_proj.weight`, `${path}.k2_proj.weight`),
    check: 'mirrored',
    layer: 'second',
  },
  {
    title: 'the second projection of another layer',
    models: [scores, rotary, cached],
    damage: ({ draft, first, second }) =>
      draft.redirect(`${second.path}.q2_proj.weight`, `${first.path}.q2_proj.weight`),
    check: 'mirrored',
    layer: 'second',
  },
  {
    title: "negative queries from the model's own weights",
    models: [scores, scoresInline, outputs, preserve],
    damage: (subject) => {
      const { draft, first } = subject;
      draft.node(`${first.path}/q2_proj/MatMul`).input = [...ownProducts(subject).query.input];
    },
    check: 'mirrored',
    layer: 'first',
  },
  {
    title: "negative keys from the model's own weights",
    models: [probabilities, preserve],
    damage: (subject) => {
      const { draft, first } = subject;
      draft.node(`${first.path}/k2_proj/MatMul`).input = [...ownProducts(subject).key.input];
    },
    check: 'mirrored',
    layer: 'first',
  },
  {
    title: 'a copy of q2 beside the parameter of that name',
    models: [scores],
    damage: ({ draft, first: { path } }) => {
      const name = `${path}.q2_proj.weight`;
      draft.redirect(name, 'copy');
      draft.addInitializer('copy', name, [32, 32], draft.bytes(name));
    },
    check: 'mirrored',
    layer: 'first',
  },
  {
    title: 'a second projection of another value',
    models: [scores, probabilities],
    damage: ({ draft, first, second }) => {
      const input = draft.node(`${first.path}/k2_proj/MatMul`).input[0] ?? '';
      draft.node(`${second.path}/k2_proj/MatMul`).input[0] = input;
    },
    check: 'mirrored',
    layer: 'second',
  },
  {
    title: 'the transposition of q2 left out where it is square',
    models: [scores, outputsInline, rotary],
    damage: ({ draft, first: { path } }) => {
      draft.node(`${path}/q2_proj/MatMul`).input[1] = `${path}.q2_proj.weight`;
    },
    check: 'mirrored',
    layer: 'first',
  },
  {
    title: 'the bias of the second queries left out',
    models: [scores, outputs],
    damage: ({ draft, second: { path } }) => {
      draft.remove(draft.node(`${path}/q2_proj/Add`), draft.node(`${path}/q2_proj/MatMul`).output[0] ?? '');
    },
    check: 'mirrored',
    layer: 'second',
  },
  {
    title: 'negative query heads in another order',
    models: [scores, outputs, rotary],
    damage: ({ draft, second }) => {
      const projected = draft.node(`${second.path}/q2_proj/MatMul`).output[0] ?? '';
      const reader = draft.reader(projected);
      const biased = reader.opType === 'Add' ? reader : undefined;
      // The heads are on an axis of their own: [B, S, h, d].
      const [value = ''] = draft.reader(biased?.output[0] ?? projected).output;
      const order = draft.addInts([0, 2, 1, 3]);
      const output = draft.insertBefore(draft.reader(value), 'Gather', [value, order], [int('axis', 2)]);
      for (const node of draft.nodes)
        if (node.name !== output) node.input = node.input.map((name) => (name === value ? output : name));
    },
    check: 'mirrored',
    layer: 'second',
  },
]);
