import { errors } from '../errors';
import {
  byteSize,
  type FunctionProto,
  type GraphProto,
  isExternal,
  type ModelFile,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from '../onnx';
import { Graph } from './graph';
import { Model } from './model';
import { Node } from './node';
import { sortNodes } from './order';
import type { Value } from './value';

/** Builds the graph of a model that was read. Nodes that stand before their producers are sorted. */
export function load(file: ModelFile): Model {
  const proto = file.proto;
  if (!proto.graph) throw errors.notAModel(file.path, 'it holds no graph');
  const model = new Model(file, proto);
  model.graph = loadGraph(model, proto.graph, undefined, undefined);
  for (const fn of proto.functions) model.functions.push({ proto: fn, body: loadFunction(model, fn) });
  return model;
}

function loadGraph(
  model: Model,
  proto: GraphProto,
  parent: Graph | undefined,
  owner: Node | undefined,
): Graph {
  const graph = new Graph(model, proto, parent, owner, proto.name || 'main graph');
  for (const input of proto.input) {
    const value = graph.define(input.name ?? '', input.type);
    value.isInput = true;
    graph.inputs.push(value);
  }
  for (const tensor of proto.initializer) {
    const name = tensor.name ?? '';
    const value = graph.values.get(name) ?? graph.define(name);
    checkElements(model.file, tensor);
    value.initializer = tensor;
  }
  for (const tensor of proto.sparseInitializer) {
    const name = tensor.values?.name ?? '';
    (graph.values.get(name) ?? graph.define(name)).sparse = true;
  }
  loadNodes(graph, proto.node, [...proto.valueInfo, ...proto.output]);
  for (const output of proto.output) graph.addOutput(resolve(graph, output.name ?? '', 'an output'));
  return graph;
}

/**
 * Sizes are taken from the dimensions of weights long before anybody reads their numbers. What lies in side files is
 * checked when it is read, and strings have no size.
 */
function checkElements(file: ModelFile, tensor: TensorProto): void {
  if (!isExternal(tensor) && byteSize(tensor.dataType ?? 0, 1) !== undefined) file.tensorBytes(tensor);
}

function loadFunction(model: Model, proto: FunctionProto): Graph {
  const graph = new Graph(model, undefined, undefined, undefined, `function ${proto.name ?? ''}`);
  for (const name of proto.input) {
    const value = graph.define(name);
    value.isInput = true;
    graph.inputs.push(value);
  }
  loadNodes(graph, proto.node, proto.valueInfo);
  for (const name of proto.output) graph.addOutput(resolve(graph, name, 'an output'));
  return graph;
}

function loadNodes(graph: Graph, protos: readonly NodeProto[], types: readonly ValueInfoProto[]): void {
  for (const proto of protos) {
    const node = new Node(proto, graph);
    graph.nodes.push(node);
    if (node.name) graph.model.names.reserve(node.name);
    proto.output.forEach((name, index) => {
      node.outputs.push(name === '' ? undefined : defineOutput(graph, node, name, index));
    });
  }
  for (const info of types) {
    const value = graph.values.get(info.name ?? '');
    if (value && !value.type && info.type) value.type = info.type;
  }
  for (const node of graph.nodes) {
    node.proto.input.forEach((name, index) => {
      node.connect(index, name === '' ? undefined : resolve(graph, name, `node '${node.label}'`));
    });
    loadAttributes(node);
  }
  sortNodes(graph);
}

function loadAttributes(node: Node): void {
  const { graph } = node;
  for (const { name = '', g } of node.proto.attribute)
    if (g) node.addBody(name, loadGraph(graph.model, g, graph, node));
}

/** Builds the bodies of a node that was added to a graph. */
export function loadBodies(node: Node): void {
  loadAttributes(node);
  node.graph.model.journal.record(() => {
    for (const body of node.bodies.values())
      for (const scope of body.scopes()) for (const inner of scope.nodes) inner.disconnect();
  });
}

function defineOutput(graph: Graph, node: Node, name: string, index: number): Value {
  if (graph.values.get(name)) {
    throw errors.invalidGraph(
      graph.model.file.path,
      `'${name}' is defined twice, the second time by node '${node.label}'`,
    );
  }
  const value = graph.define(name);
  value.producer = node;
  value.outputIndex = index;
  return value;
}

function resolve(graph: Graph, name: string, reader: string): Value {
  const value = graph.find(name);
  if (!value) {
    throw errors.invalidGraph(
      graph.model.file.path,
      `${reader} of ${graph.label} refers to '${name}', which nothing defines`,
    );
  }
  return value;
}
