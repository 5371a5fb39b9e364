import { passes } from '../../passes';
import { load } from '../../src/ir';
import {
  type AttributeProto,
  AttributeType,
  DataType,
  derive,
  EMPTY_ATTRIBUTE,
  encode,
  type FunctionProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  parseModel,
  type TensorProto,
  type ValueInfoProto,
} from '../../src/onnx';
import { findPrepared } from '../../src/rewrite/prepare';
import { int64Vector } from '../../src/rewrite/tensors';
import type { Random } from './random';
import { typesOf } from './types';

/** What is known of the values of a model before it is changed. */
export interface Facts {
  readonly types: ReadonlyMap<string, number>;
  /** Sizes as text where they are symbols; values of one shape have equal ones. */
  readonly shapes: ReadonlyMap<string, readonly string[]>;
}

/** A model that mutations change: lists of messages, each of which is replaced and never changed. */
export class Draft {
  nodes: NodeProto[];
  initializers: TensorProto[];
  inputs: ValueInfoProto[];
  outputs: ValueInfoProto[];
  valueInfo: ValueInfoProto[];
  functions: FunctionProto[];
  readonly types: Map<string, number>;
  readonly shapes: Map<string, readonly string[]>;
  #made = 0;

  constructor(
    public proto: ModelProto,
    facts: Facts,
  ) {
    const { node, initializer, input, output, valueInfo } = graphOf(proto);
    [this.nodes, this.initializers] = [[...node], [...initializer]];
    [this.inputs, this.outputs, this.valueInfo] = [[...input], [...output], [...valueInfo]];
    this.functions = [...proto.functions];
    this.types = new Map(facts.types);
    this.shapes = new Map(facts.shapes);
  }

  bytes(): Uint8Array {
    const { nodes, initializers, inputs, outputs, valueInfo, functions } = this;
    const graph = derive(graphOf(this.proto), {
      node: nodes,
      initializer: initializers,
      input: inputs,
      output: outputs,
      valueInfo,
    });
    return encode('ModelProto', derive(this.proto, { graph, functions })).read();
  }

  fresh(): string {
    return `fuzz_${this.#made++}`;
  }

  constant(tensor: TensorProto): string {
    const name = this.fresh();
    this.initializers.push({ ...tensor, name });
    this.types.set(name, tensor.dataType ?? 0);
    this.shapes.set(name, tensor.dims.map(String));
    return name;
  }

  ints(values: readonly number[]): string {
    return this.constant(int64Vector(values));
  }

  /** Puts nodes in front of the node at this place. */
  insert(at: number, ...nodes: NodeProto[]): void {
    this.nodes.splice(at, 0, ...nodes);
  }

  rewire(at: number, index: number, name: string): void {
    const node = this.nodes[at];
    if (!node) return;
    this.nodes[at] = derive(node, { input: node.input.map((each, i) => (i === index ? name : each)) });
  }

  isFloat(name: string): boolean {
    const type = this.types.get(name);
    return type === DataType.FLOAT || type === DataType.FLOAT16 || type === DataType.DOUBLE;
  }

  opset(): number {
    const own = this.proto.opsetImport.find(({ domain }) => (domain ?? '') === '');
    return Number(own?.version ?? 0);
  }

  /** A node near a softmax more often than any other: what lies around attentions is what is wanted. */
  somewhere(random: Random): number {
    if (random.chance(0.25)) return random.int(this.nodes.length);
    const anchors = this.nodes.flatMap(({ opType = '' }, at) =>
      /Softmax|Attention/.test(opType) ? [at] : [],
    );
    const anchor = random.maybe(anchors);
    if (anchor === undefined) return random.int(this.nodes.length);
    let at = anchor;
    for (let steps = random.int(9); steps > 0; steps--) at = this.#neighbour(at, random) ?? at;
    return at;
  }

  #neighbour(at: number, random: Random): number | undefined {
    const node = this.nodes[at];
    if (!node) return undefined;
    const name = random.chance(0.7) ? random.maybe(node.input) : undefined;
    if (name === undefined) {
      const readers = this.nodes.flatMap((each, index) =>
        each.input.some((input) => input !== '' && node.output.includes(input)) ? [index] : [],
      );
      return random.maybe(readers);
    }
    const producer = this.nodes.findIndex(({ output }) => output.includes(name));
    return producer < 0 ? undefined : producer;
  }

  /** An input of a node somewhere that is there: node, index, name. */
  edge(random: Random): { at: number; index: number; name: string } | undefined {
    const at = this.somewhere(random);
    const { input = [] } = this.nodes[at] ?? {};
    const index = random.int(input.length);
    const name = input[index];
    return name ? { at, index, name } : undefined;
  }
}

export function graphOf({ graph }: ModelProto): GraphProto {
  if (!graph) throw new Error('no graph');
  return graph;
}

export function node(
  opType: string,
  input: readonly string[],
  output: readonly string[],
  attribute: readonly AttributeProto[] = [],
  domain = '',
): NodeProto {
  return { opType, input, output, attribute, metadataProps: [], domain, name: `fuzz_${output[0]}` };
}

export function ints(name: string, values: readonly number[]): AttributeProto {
  return { ...EMPTY_ATTRIBUTE, name, type: AttributeType.INTS, ints: values.map(BigInt) };
}

export function int(name: string, value: number): AttributeProto {
  return { ...EMPTY_ATTRIBUTE, name, type: AttributeType.INT, i: BigInt(value) };
}

/** What a model says of its values, and what diffx derives. */
export function factsOf(bytes: Uint8Array): Facts {
  const file = parseModel(bytes);
  const types = typesOf(graphOf(file.proto));
  const shapes = new Map<string, readonly string[]>();
  const model = load(file);
  const { analysis } = findPrepared(model, passes);
  for (const [name, value] of model.graph.values) {
    const shape = analysis.shapes.shape(value);
    if (shape) shapes.set(name, shape.map(String));
  }
  return { types, shapes };
}
