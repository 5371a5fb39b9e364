import {
  type AttributeProto,
  derive,
  type FunctionProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type OperatorSetId,
  type TensorProto,
  type ValueInfoProto,
} from '../onnx';
import type { Graph } from './graph';
import type { LocalFunction, Model } from './model';
import { canonicalDomain, type Node } from './node';

/**
 * The message of a model. Whatever the compiler did not touch is the very message that was read, so that the codec
 * writes the bytes it had.
 */
export function save(model: Model): ModelProto {
  const { proto } = model;
  const functions = [...model.functions.map(saveFunction), ...model.newFunctions];
  return changed(proto, {
    graph: saveGraph(model.graph),
    functions: same(functions, proto.functions),
    metadataProps: same(model.metadata, proto.metadataProps),
    opsetImport: saveOpsets(model),
  });
}

function saveOpsets(model: Model): readonly OperatorSetId[] {
  const known = new Set(model.proto.opsetImport.map((entry) => canonicalDomain(entry.domain)));
  const added = [...model.opsets].filter(([domain]) => !known.has(domain));
  if (added.length === 0) return model.proto.opsetImport;
  return [
    ...model.proto.opsetImport,
    ...added.map(([domain, version]) => ({ domain, version: BigInt(version) })),
  ];
}

function saveFunction({ proto, body }: LocalFunction): FunctionProto {
  return changed(proto, { node: same(body.nodes.map(saveNode), proto.node) });
}

function saveGraph(graph: Graph): GraphProto {
  const proto = graph.proto;
  if (!proto) throw new Error('functions have no graph message');
  const initializers: TensorProto[] = [];
  for (const value of graph.values.values()) if (value.initializer) initializers.push(value.initializer);
  const infos = new Map<string, ValueInfoProto>();
  for (const info of [...proto.valueInfo, ...proto.output, ...proto.input]) infos.set(info.name ?? '', info);
  const outputNames = new Set(graph.outputs.map((output) => output.name));
  // A value that was taken out loses its type; types of values that never were there are the user's and stay.
  const wasDefined = new Set([
    ...proto.node.flatMap(({ output }) => output),
    ...proto.initializer.map(({ name }) => name ?? ''),
  ]);
  const valueInfo = proto.valueInfo.filter(
    ({ name = '' }) => graph.values.has(name) || outputNames.has(name) || !wasDefined.has(name),
  );
  return changed(proto, {
    node: same(graph.nodes.map(saveNode), proto.node),
    initializer: same(inOriginalOrder(initializers, proto.initializer), proto.initializer),
    input: same(
      graph.inputs.map((value) => saveInfo(value.name, value.type, infos)),
      proto.input,
    ),
    output: same(
      graph.outputs.map((value, index) => {
        const declared = value.type ?? proto.output[index]?.type;
        return saveInfo(value.name, declared, infos);
      }),
      proto.output,
    ),
    valueInfo: same(
      [
        ...valueInfo.map((info) =>
          saveInfo(info.name ?? '', graph.values.get(info.name ?? '')?.type ?? info.type, infos),
        ),
        ...newlyDeclared(graph, proto.valueInfo),
      ],
      proto.valueInfo,
    ),
  });
}

/** Types of values inside the graph that had none, or bore another name. */
function newlyDeclared(graph: Graph, before: readonly ValueInfoProto[]): ValueInfoProto[] {
  const known = new Set(before.map(({ name }) => name));
  return [...graph.values.values()].flatMap((value) => {
    const { name, type, producer, isOutput } = value;
    if (!type || !producer || isOutput || known.has(name)) return [];
    return [{ name, type, metadataProps: [] }];
  });
}

function saveInfo(
  name: string,
  type: ValueInfoProto['type'],
  infos: ReadonlyMap<string, ValueInfoProto>,
): ValueInfoProto {
  const old = infos.get(name);
  if (!old) return { name, metadataProps: [], ...(type ? { type } : {}) };
  return old.type === type || !type ? old : derive(old, { type });
}

function inOriginalOrder(tensors: TensorProto[], original: readonly TensorProto[]): TensorProto[] {
  const rank = new Map(original.map((tensor, index) => [tensor, index]));
  const old = tensors.filter((tensor) => rank.has(tensor));
  old.sort((a, b) => (rank.get(a) ?? 0) - (rank.get(b) ?? 0));
  return [...old, ...tensors.filter((tensor) => !rank.has(tensor))];
}

function saveNode(node: Node): NodeProto {
  const names = (values: readonly ({ name: string } | undefined)[]) =>
    values.map((value) => value?.name ?? '');
  const attribute = node.proto.attribute.map((entry): AttributeProto => {
    const body = node.bodies.get(entry.name ?? '');
    return body ? changed(entry, { g: saveGraph(body) }) : entry;
  });
  return changed(node.proto, {
    input: same(names(node.inputs), node.proto.input),
    output: same(names(node.outputs), node.proto.output),
    attribute: same(attribute, node.proto.attribute),
  });
}

/** The old list if the new one has the same elements, so that identity tells what changed. */
function same<T>(next: readonly T[], old: readonly T[]): readonly T[] {
  return next.length === old.length && next.every((item, index) => item === old[index]) ? old : next;
}

/** The old message if nothing differs, else a new one with the changes. */
function changed<T extends object>(proto: T, changes: { [K in keyof T]?: T[K] }): T {
  const differs = Object.entries(changes).some(([key, value]) => proto[key as keyof T] !== value);
  return differs ? derive(proto, changes) : proto;
}
