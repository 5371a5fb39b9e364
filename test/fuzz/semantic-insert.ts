/** Mutations that put something between two nodes; most of them leave a model that gives the same. */
import { DataType, derive, isFloatType, memoryBytes } from '../../src/onnx';
import { floatTensor, makeTensor } from '../../src/rewrite/tensors';
import { type Draft, int, ints, node } from './draft';
import type { Random } from './random';

/** Changes a draft; false where it does not apply. */
export type Mutation = (draft: Draft, random: Random) => boolean;

/** Puts a chain between a value and one of its readers. */
function between(
  make: (
    draft: Draft,
    name: string,
    random: Random,
  ) => [nodes: ReturnType<typeof node>[], out: string] | undefined,
): Mutation {
  return (draft, random) => {
    const edge = draft.edge(random);
    if (!edge) return false;
    const made = make(draft, edge.name, random);
    if (!made) return false;
    const [nodes, out] = made;
    draft.rewire(edge.at, edge.index, out);
    draft.insert(edge.at, ...nodes);
    const type = draft.types.get(edge.name);
    const shape = draft.shapes.get(edge.name);
    if (type !== undefined) draft.types.set(out, type);
    if (shape) draft.shapes.set(out, shape);
    return true;
  };
}

function one(
  opType: string,
  more: (draft: Draft, name: string, random: Random) => readonly string[] | undefined = () => [],
  attributes: readonly ReturnType<typeof int>[] = [],
): Mutation {
  return between((draft, name, random) => {
    const inputs = more(draft, name, random);
    if (!inputs) return undefined;
    const out = draft.fresh();
    return [[node(opType, [name, ...inputs], [out], attributes)], out];
  });
}

function scalar(value: number) {
  return (draft: Draft, name: string): readonly string[] | undefined => {
    const type = draft.types.get(name) ?? 0;
    if (!isFloatType(type)) return undefined;
    return [draft.constant(floatTensor(type, [], Float32Array.of(value)))];
  };
}

const castPair = between((draft, name, random) => {
  const type = draft.types.get(name) ?? 0;
  if (!isFloatType(type)) return undefined;
  const other = random.pick([DataType.DOUBLE, DataType.FLOAT, DataType.FLOAT16]);
  const [inner, out] = [draft.fresh(), draft.fresh()];
  return [
    [node('Cast', [name], [inner], [int('to', other)]), node('Cast', [inner], [out], [int('to', type)])],
    out,
  ];
});

const transposePair = between((draft, name, random) => {
  const rank = draft.shapes.get(name)?.length ?? 0;
  if (rank < 2) return undefined;
  const perm = random.shuffled(Array.from({ length: rank }, (_, i) => i));
  const inverse = perm.map((_, i) => perm.indexOf(i));
  const [inner, out] = [draft.fresh(), draft.fresh()];
  return [
    [
      node('Transpose', [name], [inner], [ints('perm', perm)]),
      node('Transpose', [inner], [out], [ints('perm', inverse)]),
    ],
    out,
  ];
});

const unsqueezePair = between((draft, name, random) => {
  const rank = draft.shapes.get(name)?.length;
  if (rank === undefined) return undefined;
  const axes = draft.ints([random.int(rank + 1)]);
  const [inner, out] = [draft.fresh(), draft.fresh()];
  return [[node('Unsqueeze', [name, axes], [inner]), node('Squeeze', [inner, axes], [out])], out];
});

const flattenPair = between((draft, name) => {
  const shape = draft.shapes.get(name);
  if (!shape || shape.length < 2) return undefined;
  const [sizes, flat, out] = [draft.fresh(), draft.fresh(), draft.fresh()];
  return [
    [
      node('Shape', [name], [sizes]),
      node('Reshape', [name, draft.ints([-1])], [flat]),
      node('Reshape', [flat, sizes], [out]),
    ],
    out,
  ];
});

/** The two halves of an axis cut apart and put together. */
const splitJoin = between((draft, name, random) => {
  const shape = draft.shapes.get(name);
  const even = (shape ?? []).flatMap((size, axis) => (Number(size) % 2 === 0 ? [axis] : []));
  const axis = random.maybe(even);
  if (axis === undefined || !shape) return undefined;
  const half = Number(shape[axis]) / 2;
  const [a, b, out] = [draft.fresh(), draft.fresh(), draft.fresh()];
  return [
    [
      node('Split', [name, draft.ints([half, half])], [a, b], [int('axis', axis)]),
      node('Concat', [a, b], [out], [int('axis', axis)]),
    ],
    out,
  ];
});

const identityIf: Mutation = between((draft, name) => {
  const condition = draft.constant(makeTensor(DataType.BOOL, [], memoryBytes(Uint8Array.of(1))));
  const out = draft.fresh();
  return [[node('Where', [condition, name, name], [out])], out];
});

/** Someone else who reads a value: an output of the graph. */
const secondReader: Mutation = (draft, random) => {
  const at = draft.somewhere(random);
  const maps = draft.nodes.filter(({ opType }) => opType === 'Softmax');
  const from = random.chance(0.5) ? random.maybe(maps) : draft.nodes[at];
  const name = from?.output[0];
  const type = name === undefined ? undefined : draft.types.get(name);
  if (name === undefined || type === undefined) return false;
  const out = draft.fresh();
  draft.nodes.push(node(random.pick(['Identity', 'Identity', 'Relu', 'Abs']), [name], [out]));
  const rank = draft.shapes.get(name)?.length;
  const shape =
    rank === undefined
      ? {}
      : { shape: { dim: Array.from({ length: rank }, (_, i) => ({ dimParam: `fuzz_d${i}_${out}` })) } };
  draft.outputs.push({ name: out, type: { tensorType: { elemType: type, ...shape } }, metadataProps: [] });
  return true;
};

/** A value that is an output of the graph as it stands. */
const showValue: Mutation = (draft, random) => {
  const name = draft.nodes[draft.somewhere(random)]?.output[0];
  const type = name === undefined ? undefined : draft.types.get(name);
  const rank = name === undefined ? undefined : draft.shapes.get(name)?.length;
  if (!name || type === undefined || rank === undefined || draft.outputs.some((each) => each.name === name))
    return false;
  const dim = Array.from({ length: rank }, (_, i) => ({ dimParam: `fuzz_d${i}_${name}` }));
  draft.outputs.push({ name, type: { tensorType: { elemType: type, shape: { dim } } }, metadataProps: [] });
  return true;
};

/** A node that computes in another type, with casts around it. */
const otherType: Mutation = (draft, random) => {
  const at = draft.somewhere(random);
  const old = draft.nodes[at];
  const [output] = old?.output ?? [];
  if (!old || output === undefined || old.output.length !== 1 || old.input.length === 0) return false;
  if (!old.input.every((name) => draft.isFloat(name)) || /Cast|Quantize/.test(old.opType ?? '')) return false;
  const type = draft.types.get(output) ?? DataType.FLOAT;
  const other = random.pick([DataType.DOUBLE, DataType.FLOAT, DataType.FLOAT16]);
  const casts = old.input.map((name) => node('Cast', [name], [draft.fresh()], [int('to', other)]));
  const result = draft.fresh();
  draft.nodes[at] = derive(old, { input: casts.map(({ output: [name] }) => name ?? ''), output: [result] });
  draft.insert(at + 1, node('Cast', [result], [output], [int('to', type)]));
  draft.insert(at, ...casts);
  return true;
};

export const INSERTIONS: Readonly<Record<string, Mutation>> = {
  identity: one('Identity'),
  'one element': identityIf,
  'times 1': one('Mul', scalar(1)),
  'plus 0': one('Add', scalar(0)),
  'a factor': one('Mul', scalar(0.75)),
  'Concat of one': one('Concat', () => [], [int('axis', 0)]),
  Dropout: one('Dropout'),
  'Reshape to its shape': between((draft, name) => {
    const rank = draft.shapes.get(name)?.length;
    if (rank === undefined) return undefined;
    const out = draft.fresh();
    return [[node('Reshape', [name, draft.ints(Array(rank).fill(0))], [out])], out];
  }),
  'a pair of Casts': castPair,
  'a pair of Transposes': transposePair,
  'Unsqueeze and Squeeze': unsqueezePair,
  'flat and back': flattenPair,
  'Split and Concat': splitJoin,
  'a second reader': secondReader,
  'a value shown': showValue,
  'another type': otherType,
};
