import type { LocatedSite } from '../attention/find';
import { DOMAIN, MIX_INPUT, type RewriteRecord } from '../attention/record';
import { dependencies, type Graph, type Model, type Node, type Value } from '../ir';
import { type ByteRange, encode, type TensorProto } from '../onnx';
import { type Check, CheckBuilder } from './report';

/**
 * Compares what lies outside the rewritten attentions: every node of the original that its outputs need beside the
 * rewritten products is still there, reads the same values and has the same attributes; every weight has the same
 * bytes; inputs, outputs, functions and metadata are the same.
 */
export function checkStructure(
  original: Model,
  rewritten: Model,
  record: RewriteRecord,
  sites: readonly LocatedSite[],
): Check {
  const check = new CheckBuilder(
    'structure',
    'everything outside the rewritten attentions is the original, byte for byte',
  );
  const layers = new Map(record.layers.map((layer) => [layer.output, layer.path]));
  const replaced = new Set(
    sites.filter(({ core }) => layers.has(core.output.name)).map(({ core }) => core.output),
  );
  compareGraphs(original.graph, rewritten.graph, replaced, check);
  compareSignatures(original, rewritten, record, check);
  compareInitializers(original, rewritten, record, sites, check);
  compareList(
    'function',
    original.proto.functions,
    rewritten.proto.functions,
    (each) => `${each.domain}.${each.name}`,
    (each) => encode('FunctionProto', each),
    check,
  );
  compareList(
    'metadata',
    original.proto.metadataProps,
    rewritten.proto.metadataProps,
    (each) => each.key ?? '',
    (each) => encode('StringStringEntryProto', each),
    check,
  );
  for (const { proto } of rewritten.functions) {
    const known = original.functions.some(
      (each) => each.proto.name === proto.name && each.proto.domain === proto.domain,
    );
    if (!known && proto.domain !== DOMAIN)
      check.find(`function ${proto.domain}.${proto.name} was not in the original`);
  }
  return check.done();
}

/** Nodes that the outputs still need once the replaced values are computed otherwise. */
function neededNodes(graph: Graph, replaced: ReadonlySet<Value>): Set<Node> {
  const needed = new Set<Node>();
  const open = graph.outputs.filter((value) => !replaced.has(value));
  for (let value = open.pop(); value; value = open.pop()) {
    const node = replaced.has(value) || value.scope !== graph ? undefined : value.producer;
    if (!node || needed.has(node)) continue;
    needed.add(node);
    open.push(...dependencies(node));
  }
  return needed;
}

function compareGraphs(
  original: Graph,
  rewritten: Graph,
  replaced: ReadonlySet<Value>,
  check: CheckBuilder,
): void {
  const byOutput = new Map<string, Node>();
  for (const node of rewritten.nodes)
    for (const value of node.outputs) if (value) byOutput.set(value.name, node);
  const needed = neededNodes(original, replaced);
  for (const node of original.nodes) {
    const [output] = node.outputs.filter((value) => value !== undefined);
    if (!output || replaced.has(output)) continue;
    const twin = byOutput.get(output.name);
    if (!twin) {
      if (needed.has(node)) check.find(`node '${node.label}' is missing`);
      continue;
    }
    compareNodes(node, twin, replaced, check);
  }
  for (const value of replaced) {
    if (value.scope !== original) continue;
    if (byOutput.has(value.name)) check.count();
    else check.find(`nothing computes '${value.name}'`);
  }
}

function compareNodes(node: Node, twin: Node, replaced: ReadonlySet<Value>, check: CheckBuilder): void {
  if (node.bodies.size > 0) {
    for (const [name, body] of node.bodies) {
      const other = twin.bodies.get(name);
      if (other) compareGraphs(body, other, replaced, check);
      else check.find(`node '${node.label}' has no ${name} any more`);
    }
    const inputs = (each: Node) => each.inputs.map((input) => input?.name ?? '').join();
    if (inputs(node) !== inputs(twin) || node.operator !== twin.operator)
      check.find(`node '${node.label}' has changed`);
    return;
  }
  if (sameBytes(encode('NodeProto', node.proto), encode('NodeProto', twin.proto))) check.count();
  else check.find(`node '${node.label}' has changed`);
}

/** Streams two byte ranges against each other. */
export function sameBytes(a: ByteRange, b: ByteRange): boolean {
  if (a.length !== b.length) return false;
  const left = a.chunks()[Symbol.iterator]();
  const right = b.chunks()[Symbol.iterator]();
  let x: Uint8Array = new Uint8Array(0);
  let y: Uint8Array = new Uint8Array(0);
  for (let at = 0; at < a.length; ) {
    if (x.length === 0) x = left.next().value ?? x;
    if (y.length === 0) y = right.next().value ?? y;
    const size = Math.min(x.length, y.length);
    if (size === 0 || Buffer.compare(x.subarray(0, size), y.subarray(0, size)) !== 0) return false;
    x = x.subarray(size);
    y = y.subarray(size);
    at += size;
  }
  return true;
}

function compareSignatures(
  original: Model,
  rewritten: Model,
  record: RewriteRecord,
  check: CheckBuilder,
): void {
  const describe = (values: readonly Value[]) =>
    values.map(
      (value) =>
        `${value.name}: ${JSON.stringify(value.type, (_, x) => (typeof x === 'bigint' ? `${x}` : x))}`,
    );
  const expected = describe(original.graph.inputs);
  const given = describe(
    rewritten.graph.inputs.filter((value) => !(record.options.mixInput && value.name === MIX_INPUT)),
  );
  compareNames('input', expected, given, check);
  compareNames('output', describe(original.graph.outputs), describe(rewritten.graph.outputs), check);
  if (record.options.mixInput && !rewritten.graph.inputs.some(({ name }) => name === MIX_INPUT)) {
    check.find(`input '${MIX_INPUT}' is missing`);
  }
}

function compareNames(
  what: string,
  expected: readonly string[],
  given: readonly string[],
  check: CheckBuilder,
): void {
  for (let i = 0; i < Math.max(expected.length, given.length); i++) {
    if (expected[i] === given[i]) check.count();
    else check.find(`${what} ${i} was ${expected[i] ?? 'none'}, is ${given[i] ?? 'none'}`);
  }
}

/** Names of weights that the options allow to change: a checkpoint was loaded, or halves were mirrored. */
function mayChange(record: RewriteRecord, sites: readonly LocatedSite[]): Set<string> {
  const names = new Set(Object.keys(record.loaded));
  if (record.options.heads === 'split' && record.options.init === 'mirror') {
    for (const { query, key } of sites) {
      for (const { projection } of [query, key]) {
        names.add(projection.tensor.name ?? '');
        names.add(projection.bias?.tensor.name ?? '');
      }
    }
  }
  return names;
}

function compareInitializers(
  original: Model,
  rewritten: Model,
  record: RewriteRecord,
  sites: readonly LocatedSite[],
  check: CheckBuilder,
): void {
  const excused = mayChange(record, sites);
  const others = [...rewritten.scopes()];
  [...original.scopes()].forEach((scope, index) => {
    const twin = others[index];
    for (const value of scope.values.values()) {
      const tensor = value.initializer;
      const other = twin?.values.get(value.name)?.initializer;
      if (!tensor || !other || excused.has(value.name)) continue;
      if (sameTensor(original, tensor, rewritten, other)) check.count();
      else check.find(`weight '${value.name}' has changed`);
    }
  });
}

function sameTensor(a: Model, x: TensorProto, b: Model, y: TensorProto): boolean {
  if (x.dataType !== y.dataType || x.dims.join() !== y.dims.join()) return false;
  if (x.stringData.length > 0) return sameBytes(encode('TensorProto', x), encode('TensorProto', y));
  return sameBytes(a.file.tensorBytes(x), b.file.tensorBytes(y));
}

function compareList<T>(
  what: string,
  expected: readonly T[],
  given: readonly T[],
  name: (each: T) => string,
  bytes: (each: T) => ByteRange,
  check: CheckBuilder,
): void {
  for (const each of expected) {
    const other = given.find((candidate) => name(candidate) === name(each));
    if (other && sameBytes(bytes(each), bytes(other))) check.count();
    else check.find(`${what} '${name(each)}' ${other ? 'has changed' : 'is missing'}`);
  }
}
