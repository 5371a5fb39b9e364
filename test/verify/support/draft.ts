/** Models to be damaged: their messages as plain, changeable objects. */

import * as fs from 'node:fs';
import * as path from 'node:path';
import { DOMAIN } from '../../../src/attention/record';
import {
  type AttributeProto,
  AttributeType,
  DataType,
  encode,
  type FunctionProto,
  type GraphProto,
  type ModelFile,
  type ModelProto,
  memoryBytes,
  type NodeProto,
  readModel,
  type TensorProto,
  type ValueInfoProto,
} from '../../../src/onnx';
import { temporaryFolder } from '../../support/fixtures';

/** An operator call that may be changed. */
export interface DraftNode {
  opType: string;
  domain: string;
  name: string;
  input: string[];
  output: string[];
  attribute: AttributeProto[];
  readonly rest: NodeProto;
}

export interface DraftFunction {
  readonly nodes: DraftNode[];
  readonly rest: FunctionProto;
}

const NO_LISTS = {
  floats: [],
  ints: [],
  strings: [],
  tensors: [],
  graphs: [],
  sparseTensors: [],
  typeProtos: [],
};

function draftNode(proto: NodeProto): DraftNode {
  return {
    opType: proto.opType ?? '',
    domain: proto.domain ?? '',
    name: proto.name ?? '',
    input: [...proto.input],
    output: [...proto.output],
    attribute: [...proto.attribute],
    rest: proto,
  };
}

/** Fields that were absent stay absent. */
function nodeProto({ rest, input, output, attribute, ...texts }: DraftNode): NodeProto {
  const given = Object.entries(texts).filter(([key, text]) => text !== '' || key in rest);
  return { ...rest, input, output, attribute, ...Object.fromEntries(given) };
}

let written = 0;

/** A model whose parts can be changed one by one. */
export class Draft {
  readonly nodes: DraftNode[];
  readonly initializers: Map<string, TensorProto>;
  readonly functions: DraftFunction[];
  readonly metadata: Map<string, string>;
  inputs: ValueInfoProto[];
  outputs: ValueInfoProto[];
  opsets: { domain: string; version: bigint }[];
  readonly #file: ModelFile;
  readonly #proto: ModelProto;
  readonly #graph: GraphProto;

  constructor(file: string) {
    this.#file = readModel(file);
    this.#proto = this.#file.proto;
    const { graph } = this.#proto;
    if (!graph) throw new Error('no graph');
    this.#graph = graph;
    this.nodes = graph.node.map(draftNode);
    this.initializers = new Map(graph.initializer.map((tensor) => [tensor.name ?? '', tensor]));
    this.functions = this.#proto.functions.map((rest) => ({ nodes: rest.node.map(draftNode), rest }));
    this.metadata = new Map(this.#proto.metadataProps.map(({ key, value }) => [key ?? '', value ?? '']));
    this.inputs = [...graph.input];
    this.outputs = [...graph.output];
    this.opsets = this.#proto.opsetImport.map(({ domain, version }) => ({
      domain: domain ?? '',
      version: version ?? 0n,
    }));
  }

  /** The node of the main graph that satisfies a condition, or bears a name. */
  node(wanted: string | ((node: DraftNode) => boolean)): DraftNode {
    const found = this.nodes.find((node) =>
      typeof wanted === 'string' ? node.name === wanted : wanted(node),
    );
    if (!found) throw new Error(`no node ${wanted}`);
    return found;
  }

  /** The first node of the main graph. */
  first(): DraftNode {
    return this.node(() => true);
  }

  /** The node that computes a value of the main graph. */
  producer(value: string): DraftNode {
    return this.node(({ output }) => output.includes(value));
  }

  /** The first node that reads a value of the main graph and satisfies a condition. */
  reader(value: string, condition: (node: DraftNode) => boolean = () => true): DraftNode {
    return this.node((node) => node.input.includes(value) && condition(node));
  }

  /**
   * An operator of the differential attention, by the name it has in the function: of the function that all layers
   * call, or where there is none, of the layer with this path.
   */
  part(name: string, path: string): DraftNode {
    const [body] = this.functions.filter(({ rest }) => rest.domain === DOMAIN);
    const found = body
      ? body.nodes.find((node) => node.name === name)
      : this.nodes.find((node) => node.name.startsWith(`${path}/Diff`) && node.name.endsWith(`/${name}`));
    if (!found) throw new Error(`no part ${name}`);
    return found;
  }

  /** Puts a node in front of another one of the main graph; gives its output. */
  insertBefore(node: DraftNode, opType: string, input: string[], attribute: AttributeProto[] = []): string {
    const output = `damage/${written++}`;
    const rest = { input: [], output: [], attribute: [], metadataProps: [] };
    const made = { opType, domain: '', name: output, input, output: [output], attribute, rest };
    this.nodes.splice(this.nodes.indexOf(node), 0, made);
    return output;
  }

  /** Takes a node of the main graph out; whoever read its output reads another value. */
  remove(node: DraftNode, instead: string): void {
    this.nodes.splice(this.nodes.indexOf(node), 1);
    this.redirect(node.output[0] ?? '', instead);
  }

  redirect(from: string, to: string): void {
    for (const node of this.nodes) node.input = node.input.map((name) => (name === from ? to : name));
  }

  bytes(name: string): Uint8Array {
    const tensor = this.initializers.get(name);
    if (!tensor) throw new Error(`no initializer ${name}`);
    return new Uint8Array(this.#file.tensorBytes(tensor).read());
  }

  /** Changes the bytes of an initializer. */
  weight(name: string, change: (bytes: Uint8Array) => void): void {
    const bytes = this.bytes(name);
    change(bytes);
    this.setBytes(name, bytes);
  }

  setBytes(name: string, bytes: Uint8Array): void {
    const tensor = this.initializers.get(name);
    if (!tensor) throw new Error(`no initializer ${name}`);
    const none = { floatData: [], int32Data: [], int64Data: [], doubleData: [], uint64Data: [] };
    this.initializers.set(name, {
      ...tensor,
      ...none,
      externalData: [],
      dataLocation: 0,
      rawData: memoryBytes(bytes),
    });
  }

  /** Adds a copy of an initializer under a name of its own. */
  addInitializer(name: string, like: string, dims: readonly number[], bytes: Uint8Array): void {
    const tensor = this.initializers.get(like);
    if (!tensor) throw new Error(`no initializer ${like}`);
    this.initializers.set(name, { ...tensor, name, dims: dims.map(BigInt) });
    this.setBytes(name, bytes);
  }

  /** Adds a vector of integers; gives its name. */
  addInts(values: readonly number[]): string {
    const name = `damage/${written++}`;
    this.initializers.set(name, {
      name,
      dims: [BigInt(values.length)],
      dataType: DataType.INT64,
      floatData: [],
      int32Data: [],
      stringData: [],
      int64Data: values.map(BigInt),
      doubleData: [],
      uint64Data: [],
      externalData: [],
      metadataProps: [],
    });
    return name;
  }

  proto(): ModelProto {
    const graph: GraphProto = {
      ...this.#graph,
      node: this.nodes.map(nodeProto),
      initializer: [...this.initializers.values()],
      input: this.inputs,
      output: this.outputs,
    };
    return {
      ...this.#proto,
      graph,
      functions: this.functions.map(({ nodes, rest }) => ({ ...rest, node: nodes.map(nodeProto) })),
      metadataProps: [...this.metadata].map(([key, value]) => ({ key, value })),
      opsetImport: this.opsets,
    };
  }

  /** Writes the model as it is now; gives the path. */
  write(): string {
    const file = path.join(temporaryFolder(), `damaged-${written++}.onnx`);
    fs.writeFileSync(file, encode('ModelProto', this.proto()).read());
    return file;
  }
}

/** Flips one bit in the middle. */
export function flipBit(bytes: Uint8Array): void {
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
}

/** Nodes that read one value read the other one, and the other way round. */
export function exchangeReaders(nodes: readonly DraftNode[], a: string, b: string): void {
  for (const node of nodes) node.input = node.input.map((name) => (name === a ? b : name === b ? a : name));
}

export function setInt(node: DraftNode, name: string, value: number): void {
  set(node, { ...NO_LISTS, name, type: AttributeType.INT, i: BigInt(value) });
}

export function setInts(node: DraftNode, name: string, values: readonly number[]): void {
  set(node, ints(name, values));
}

export function setFloat(node: DraftNode, name: string, value: number): void {
  set(node, { ...NO_LISTS, name, type: AttributeType.FLOAT, f: value });
}

export function ints(name: string, values: readonly number[]): AttributeProto {
  return { ...NO_LISTS, name, type: AttributeType.INTS, ints: values.map(BigInt) };
}

export function int(name: string, value: number): AttributeProto {
  return { ...NO_LISTS, name, type: AttributeType.INT, i: BigInt(value) };
}

function set(node: DraftNode, attribute: AttributeProto): void {
  node.attribute = [...node.attribute.filter(({ name }) => name !== attribute.name), attribute];
}

/** Exchanges two entries of a list. */
export function swap<T>(list: T[], first: number, second: number): void {
  const [a, b] = [list[first], list[second]];
  if (a === undefined || b === undefined) throw new Error(`no entries ${first} and ${second}`);
  [list[first], list[second]] = [b, a];
}
