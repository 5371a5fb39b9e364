import { isShapeReader } from '../../analyse';
import { dependencies, type Graph, type Model, type Node, pushAll, type Value } from '../../ir';
import { derive, encode, type NodeProto, type TensorProto } from '../../onnx';
import type { CheckBuilder } from '../report';
import type { Correspondence } from './correspondence';
import type { Owners } from './owners';
import { sameBytes } from './same-bytes';
import { isHalvedType } from './shown-maps';
import type { ExpectedWeights } from './weights';

export interface Comparison {
  readonly map: Correspondence;
  readonly owners: Owners;
  readonly weights: ExpectedWeights;
  readonly check: CheckBuilder;
}

/** Compares a graph or body of the original with that of the rewritten model, bodies inside included. */
export function compareGraphs(original: Graph, rewritten: Graph, context: Comparison): void {
  const { map, owners, check } = context;
  const given = new Set([...map.replaced, ...map.maps.keys()]);
  const needed = neededNodes(original, given);
  for (const node of original.nodes) {
    const twin = map.twin(node);
    if (twin) compareNodes(node, twin, context);
    else if (needed.has(node)) check.find(`node '${node.label}' is missing`, owners.of(node));
  }
  compareOrder(original, rewritten, context);
  for (const value of given) {
    if (value.scope !== original) continue;
    if (rewritten.values.get(value.name)?.producer) check.count();
    else check.find(`nothing computes '${value.name}'`, owners.of(value.producer));
  }
  compareInitializers(original, rewritten, context);
  const hidden = [...rewritten.values.keys()].find(
    (name) => !original.values.has(name) && original.parent?.find(name),
  );
  if (hidden !== undefined) check.find(`a new '${hidden}' hides that of the graph around`);
}

/** The nodes that the outputs of a graph still need where something else computes the given values. */
function neededNodes(graph: Graph, given: ReadonlySet<Value>): Set<Node> {
  const needed = new Set<Node>();
  const open = graph.outputs.filter((value) => !given.has(value));
  for (let value = open.pop(); value; value = open.pop()) {
    const node = given.has(value) || value.scope !== graph ? undefined : value.producer;
    if (!node || needed.has(node)) continue;
    needed.add(node);
    pushAll(open, dependencies(node));
  }
  return needed;
}

function compareNodes(node: Node, twin: Node, context: Comparison): void {
  const { check, owners } = context;
  const change = changeOf(node, twin, context);
  if (change === undefined) check.count();
  else check.find(`node '${node.label}' ${change}`, owners.of(node));
  for (const [name, body] of node.bodies) {
    const other = twin.bodies.get(name);
    if (other) {
      compareGraphs(body, other, context);
      compareBodyEnds(node, body, other, context);
    }
  }
}

/** What a node does otherwise than it did, in words. */
function changeOf(node: Node, twin: Node, { map }: Comparison): string | undefined {
  if (twin.operator !== node.operator) return `is ${twin.operator} and was ${node.operator}`;
  const count = Math.max(node.inputs.length, twin.inputs.length);
  for (let index = 0; index < count; index++) {
    const [wanted, given] = [node.inputs[index], twin.inputs[index]];
    const [was, is] = [wanted?.name, given && map.nameOf(given)];
    // Whoever asks for the shape of a map goes on asking for that of the model's own.
    const ownMap = wanted && isShapeReader(node) && map.maps.has(wanted) && is === `${was}, before`;
    if ((was !== is && !ownMap) || levelOf(wanted) !== levelOf(given))
      return `reads '${is ?? 'nothing'}' and read '${was ?? 'nothing'}'`;
  }
  for (let index = 0; index < Math.max(node.outputs.length, twin.outputs.length); index++) {
    const [wanted, given] = [node.outputs[index], twin.outputs[index]];
    if (wanted && given && map.taken.has(wanted)) continue;
    if (index >= node.outputs.length && given && map.metrics.has(given.name)) continue;
    if (wanted?.name !== given?.name)
      return `gives '${given?.name ?? 'nothing'}' and gave '${wanted?.name ?? 'nothing'}'`;
    const type = wanted && typeChange(wanted, given, map);
    if (type !== undefined) return type;
  }
  if (sameBytes(encode('NodeProto', node.proto), encode('NodeProto', twin.proto))) return undefined;
  return sameBytes(encode('NodeProto', bare(node.proto)), encode('NodeProto', bare(twin.proto)))
    ? undefined
    : 'has changed';
}

/** How many scopes stand around the one that defines a value. */
function levelOf(value: Value | undefined): number {
  let level = 0;
  for (let scope = value?.scope; scope; scope = scope.parent) level++;
  return level;
}

/** A node without what is compared otherwise: names of values, and bodies. */
function bare(proto: NodeProto): NodeProto {
  const attribute = proto.attribute.map((each) => (each.g ? derive(each, { g: undefined }) : each));
  return derive(proto, { input: [], output: [], attribute });
}

function typeChange(value: Value, other: Value | undefined, map: Correspondence): string | undefined {
  if (!value.type || map.doubled.has(value)) return undefined;
  if (other && map.shownMaps.has(value) && isHalvedType(value, other, map.splits)) return undefined;
  const same = other?.type && sameBytes(encode('TypeProto', value.type), encode('TypeProto', other.type));
  return same ? undefined : `gives '${value.name}', whose declared type has changed`;
}

/** Inputs and outputs of a body, in order; metrics stand behind the others. */
function compareBodyEnds(node: Node, body: Graph, other: Graph, { check, map }: Comparison): void {
  const names = (values: readonly Value[]) => values.map(({ name }) => name).join(', ');
  for (const ends of ['inputs', 'outputs'] as const) {
    const given = other[ends].filter(
      ({ name }, index) => index < body[ends].length || !map.metrics.has(name),
    );
    if (names(body[ends]) === names(given)) check.count();
    else check.find(`node '${node.label}': the ${ends} of its body have changed`);
  }
}

/** What stays stands in the order it had. */
function compareOrder(original: Graph, rewritten: Graph, { map, check, owners }: Comparison): void {
  const places = new Map(rewritten.nodes.map((node, index) => [node, index]));
  let last = -1;
  for (const node of original.nodes) {
    const twin = map.twin(node);
    const place = twin && places.get(twin);
    if (place === undefined || map.showing.has(node)) continue;
    if (place > last) check.count();
    else check.find(`node '${node.label}' does not stand where it stood`, owners.of(node));
    last = place;
  }
}

function compareInitializers(
  original: Graph,
  rewritten: Graph,
  { map, weights, owners, check }: Comparison,
): void {
  for (const value of original.values.values()) {
    const tensor = value.initializer;
    const other = rewritten.values.get(value.name);
    // What nobody reads any more may go; who still reads it is compared with the nodes.
    if (!tensor || !other || weights.loaded.has(value.name)) continue;
    const expected = weights.changed.get(value.name);
    const same =
      other.initializer &&
      (expected
        ? sameBytes(expected, map.rewritten.file.tensorBytes(other.initializer))
        : sameTensor(map.original, tensor, map.rewritten, other.initializer));
    if (same) check.count();
    else check.find(`weight '${value.name}' has changed`, owners.of(value.name));
  }
}

function sameTensor(a: Model, x: TensorProto, b: Model, y: TensorProto): boolean {
  if (x.dataType !== y.dataType || x.dims.join() !== y.dims.join()) return false;
  if (x.stringData.length > 0) return sameBytes(encode('TensorProto', x), encode('TensorProto', y));
  return sameBytes(a.file.tensorBytes(x), b.file.tensorBytes(y));
}
