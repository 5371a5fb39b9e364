/** Mutations that change what is there: nodes, attributes, sizes, names, stored weights. */
import {
  type AttributeProto,
  type DimensionProto,
  derive,
  memoryBytes,
  type TensorProto,
} from '../../src/onnx';
import type { Draft } from './draft';
import { ints, node } from './draft';
import type { Random } from './random';
import type { Mutation } from './semantic-insert';

const ODD_NUMBERS = [-1n, 0n, 1n, 2n, 3n, -2n, 7n, 1n << 31n, 1n << 40n, -(1n << 63n)] as const;

const dropNode: Mutation = (draft, random) => {
  const at = draft.somewhere(random);
  const old = draft.nodes[at];
  if (!old) return false;
  draft.nodes.splice(at, 1);
  // Half of the time the readers read on from what it read.
  const [from, to] = [old.output[0], old.input[0]];
  if (random.chance(0.7) && from !== undefined && to !== undefined) redirect(draft, from, to);
  return true;
};

function redirect(draft: Draft, from: string, to: string): void {
  draft.nodes = draft.nodes.map((each) =>
    each.input.includes(from)
      ? derive(each, { input: each.input.map((name) => (name === from ? to : name)) })
      : each,
  );
}

/** The same node once more; some readers read the copy. */
const duplicateNode: Mutation = (draft, random) => {
  const at = draft.somewhere(random);
  const old = draft.nodes[at];
  const name = old?.output[0];
  if (!old || name === undefined) return false;
  const output = old.output.map((each) => (each === '' ? '' : draft.fresh()));
  const copy = output[0] ?? '';
  draft.nodes = draft.nodes.map((each) =>
    each.input.includes(name) && random.chance(0.5)
      ? derive(each, { input: each.input.map((input) => (input === name ? copy : input)) })
      : each,
  );
  draft.insert(at + 1, derive(old, { output, name: `${old.name} again` }));
  return true;
};

const swapInputs: Mutation = (draft, random) => {
  const at = draft.somewhere(random);
  const old = draft.nodes[at];
  if (!old || old.input.length < 2) return false;
  draft.nodes[at] = derive(old, { input: random.shuffled(old.input) });
  return true;
};

/** In another order that is as good. */
const reorderNodes: Mutation = (draft, random) => {
  const open = new Set(draft.nodes);
  const made = new Map(draft.nodes.flatMap((each) => each.output.map((name) => [name, each] as const)));
  const order: (typeof draft.nodes)[number][] = [];
  const bodies = draft.nodes.some(({ attribute }) => attribute.some(({ g }) => g));
  if (bodies || draft.nodes.length > 2000) return false;
  let waiting = random.shuffled(draft.nodes);
  while (waiting.length > 0) {
    const ready = waiting.filter(({ input }) => input.every((name) => !open.has(made.get(name) as never)));
    if (ready.length === 0) return false;
    for (const each of ready) {
      order.push(each);
      open.delete(each);
    }
    waiting = waiting.filter((each) => open.has(each));
  }
  draft.nodes = order;
  return true;
};

const swapNodes: Mutation = (draft, random) => {
  const [a, b] = [draft.somewhere(random), draft.somewhere(random)];
  const [one, other] = [draft.nodes[a], draft.nodes[b]];
  if (!one || !other || a === b) return false;
  [draft.nodes[a], draft.nodes[b]] = [other, one];
  return true;
};

const changeAttribute: Mutation = (draft, random) => {
  const able = draft.nodes.flatMap((each, at) =>
    each.attribute.some(({ i, f, ints: list }) => i !== undefined || f !== undefined || list.length > 0)
      ? [at]
      : [],
  );
  const near = Array.from({ length: 6 }, () => draft.somewhere(random)).find((at) => able.includes(at));
  const at = near ?? random.maybe(able);
  const old = at === undefined ? undefined : draft.nodes[at];
  const attribute = random.maybe(old?.attribute ?? []);
  if (!old || !attribute || at === undefined) return false;
  const changed = otherAttribute(attribute, random);
  draft.nodes[at] = derive(old, {
    attribute: random.chance(0.1)
      ? old.attribute.filter((each) => each !== attribute)
      : old.attribute.map((each) => (each === attribute ? changed : each)),
  });
  return true;
};

function otherAttribute(attribute: AttributeProto, random: Random): AttributeProto {
  const { i, f, ints: list } = attribute;
  if (i !== undefined)
    return derive(attribute, {
      i: random.chance(0.7) ? i + random.pick([1n, -1n, 2n]) : random.pick(ODD_NUMBERS),
    });
  if (f !== undefined) return derive(attribute, { f: f * random.pick([0.5, 2, -1, 0, 1e30]) });
  if (list.length === 0) return attribute;
  const others = random.chance(0.7)
    ? random.shuffled(list)
    : list.map((each) => (random.chance(0.3) ? random.pick(ODD_NUMBERS) : each));
  return derive(attribute, { ints: others });
}

const changeDims: Mutation = (draft, random) => {
  const at = random.int(draft.initializers.length);
  const tensor = draft.initializers[at];
  if (!tensor) return false;
  const dims =
    tensor.dims.length > 1 && random.chance(0.4)
      ? random.shuffled(tensor.dims)
      : tensor.dims.map((size) => (random.chance(0.5) ? random.pick(ODD_NUMBERS) : size));
  draft.initializers[at] = derive(tensor, { dims });
  return true;
};

/** The numbers of small integer constants: shapes, axes, splits. */
const changeInts: Mutation = (draft, random) => {
  const able = draft.initializers.flatMap(({ dataType, rawData }, at) =>
    dataType === 7 && rawData && rawData.length > 0 && rawData.length <= 64 ? [at] : [],
  );
  const at = random.maybe(able);
  const tensor = at === undefined ? undefined : draft.initializers[at];
  if (at === undefined || !tensor?.rawData) return false;
  const values = new BigInt64Array(tensor.rawData.read().slice().buffer);
  const index = random.int(values.length);
  values[index] = random.chance(0.5)
    ? (values[index] ?? 0n) + random.pick([1n, -1n])
    : random.pick(ODD_NUMBERS);
  draft.initializers[at] = derive(tensor, { rawData: memoryBytes(new Uint8Array(values.buffer)) });
  return true;
};

const changeInfo: Mutation = (draft, random) => {
  const lists = [draft.inputs, draft.outputs, draft.valueInfo].filter(({ length }) => length > 0);
  const list = random.maybe(lists);
  const at = random.int(list?.length ?? 0);
  const info = list?.[at];
  const type = info?.type?.tensorType;
  if (!list || !info || !type) return false;
  const dim = (type.shape?.dim ?? []).map((each) => {
    if (random.chance(0.5)) return each;
    return random.pick<DimensionProto>([{ dimValue: random.pick(ODD_NUMBERS) }, { dimParam: 'fuzz' }, {}]);
  });
  const elemType = random.chance(0.2) ? random.pick([1, 7, 10, 11, 16, 99]) : type.elemType;
  const changed = random.chance(0.1) ? {} : { shape: { dim } };
  list[at] = derive(info, {
    type: { tensorType: { ...(elemType === undefined ? {} : { elemType }), ...changed } },
  });
  return true;
};

const dropInfo: Mutation = (draft) => {
  if (draft.valueInfo.length === 0) return false;
  draft.valueInfo = [];
  return true;
};

/** An input reads another value of the same type and shape that is computed before. */
const rewire: Mutation = (draft, random) => {
  const edge = draft.edge(random);
  if (!edge) return false;
  const alike = (name: string) =>
    name !== edge.name &&
    draft.types.get(name) === draft.types.get(edge.name) &&
    draft.shapes.get(name)?.join() === draft.shapes.get(edge.name)?.join();
  const before = draft.nodes.slice(0, edge.at).flatMap(({ output }) => output);
  const stored = draft.initializers.map(({ name = '' }) => name);
  const name = random.maybe([...before, ...stored].filter(alike));
  if (name === undefined) return false;
  draft.rewire(edge.at, edge.index, name);
  return true;
};

const renameAll: Mutation = (draft, random) => {
  const kept = new Set([...draft.inputs, ...draft.outputs].map(({ name }) => name));
  if (draft.nodes.some(({ attribute }) => attribute.some(({ g }) => g))) return false;
  const names = new Map<string, string>();
  const prefix = random.pick(['v', 'x y', 'a/b:', 'é', '%', 'ai.diffx.']);
  const renamed = (name: string) => {
    if (name === '' || kept.has(name)) return name;
    const known = names.get(name) ?? `${prefix}${names.size}`;
    names.set(name, known);
    return known;
  };
  draft.nodes = draft.nodes.map((each) =>
    derive(each, {
      input: each.input.map(renamed),
      output: each.output.map(renamed),
      name: '',
      metadataProps: [],
    }),
  );
  draft.initializers = draft.initializers.map((each) => derive(each, { name: renamed(each.name ?? '') }));
  draft.valueInfo = [];
  for (const map of [draft.types, draft.shapes] as Map<string, unknown>[])
    for (const [name, value] of [...map]) map.set(names.get(name) ?? name, value);
  return true;
};

/** One stored weight in the place of another of the same shape: both are read from one. */
const shareWeights: Mutation = (draft, random) => {
  const one = random.maybe(draft.initializers);
  if (!one) return false;
  const alike = draft.initializers.filter(
    (each) => each !== one && each.dataType === one.dataType && each.dims.join() === one.dims.join(),
  );
  const other = random.maybe(alike);
  if (!other) return false;
  redirect(draft, other.name ?? '', one.name ?? '');
  return true;
};

const unshareWeights: Mutation = (draft, random) => {
  const count = (name: string) => draft.nodes.filter(({ input }) => input.includes(name)).length;
  const shared = draft.initializers.filter(({ name = '' }) => count(name) > 1);
  const one = random.maybe(shared);
  if (!one) return false;
  draft.nodes.forEach((each, at) => {
    const index = each.input.indexOf(one.name ?? '');
    if (index >= 0 && random.chance(0.5)) draft.rewire(at, index, draft.constant(one));
  });
  return true;
};

/** A stored matrix the other way round, with a Transpose behind it. */
const transposeWeight: Mutation = (draft, random) => {
  const at = random.int(draft.initializers.length);
  const tensor = draft.initializers[at];
  const [rows, columns] = (tensor?.dims ?? []).map(Number);
  const data = tensor?.rawData?.read();
  if (!tensor || !data || tensor.dims.length !== 2 || !rows || !columns) return false;
  const size = data.length / (rows * columns);
  if (!Number.isInteger(size)) return false;
  const turned = new Uint8Array(data.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++)
      turned.set(
        data.subarray((i * columns + j) * size, (i * columns + j + 1) * size),
        (j * rows + i) * size,
      );
  const stored: TensorProto = derive(tensor, {
    dims: [BigInt(columns), BigInt(rows)],
    rawData: memoryBytes(turned),
  });
  const name = draft.constant(stored);
  draft.initializers.splice(at, 1);
  draft.insert(0, node('Transpose', [name], [tensor.name ?? ''], [ints('perm', [1, 0])]));
  return true;
};

const changeOpset: Mutation = (draft, random) => {
  const { proto } = draft;
  const version = BigInt(random.pick([7, 11, 12, 13, 14, 17, 18, 20, 21, 22, 23, 99]));
  draft.proto = derive(proto, {
    opsetImport: proto.opsetImport.map((each) =>
      (each.domain ?? '') === '' ? derive(each, { version }) : each,
    ),
  });
  return true;
};

const outputTwice: Mutation = (draft, random) => {
  const info = random.maybe(draft.outputs);
  if (!info) return false;
  if (random.chance(0.5)) draft.outputs.push(info);
  else draft.outputs = draft.outputs.filter((each) => each !== info);
  return true;
};

export const CHANGES: Readonly<Record<string, Mutation>> = {
  'drop a node': dropNode,
  'duplicate a node': duplicateNode,
  'swap inputs': swapInputs,
  'swap nodes': swapNodes,
  'reorder nodes': reorderNodes,
  'change an attribute': changeAttribute,
  'change dims': changeDims,
  'change integers': changeInts,
  'change value info': changeInfo,
  'drop value info': dropInfo,
  rewire,
  rename: renameAll,
  'share weights': shareWeights,
  'unshare weights': unshareWeights,
  'transpose a weight': transposeWeight,
  'change the opset': changeOpset,
  'change outputs': outputTwice,
};
