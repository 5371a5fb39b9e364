import type { AttributeProto, NodeProto, StringStringEntry, TensorProto } from '../onnx';
import type { Graph } from './graph';
import type { Use, Value } from './value';

/** The standard operator set is written '' or 'ai.onnx'; both mean the same. */
export function canonicalDomain(domain: string | undefined): string {
  return domain === undefined || domain === 'ai.onnx' ? '' : domain;
}

const NO_ATTRIBUTES: ReadonlyMap<string, AttributeProto> = new Map();
const NO_BODIES: ReadonlyMap<string, Graph> = new Map();

/** An operator call. Its fields change only through methods of `Graph` and `Model`, which keep the use lists. */
export class Node {
  readonly opType: string;
  /** '' for the standard operators. */
  readonly domain: string;
  readonly overload: string;
  readonly name: string;
  /** `undefined` where an optional input is left out. */
  readonly inputs: (Value | undefined)[] = [];
  /** `undefined` where an optional output is left out. */
  readonly outputs: (Value | undefined)[] = [];
  #bodies: Map<string, Graph> | undefined;
  readonly #uses: (Use | undefined)[] = [];
  readonly #attributes: ReadonlyMap<string, AttributeProto>;

  constructor(
    /** The message the node was read from, or made from. */
    readonly proto: NodeProto,
    /** The graph that holds it. */
    public graph: Graph,
  ) {
    this.opType = proto.opType ?? '';
    this.domain = canonicalDomain(proto.domain);
    this.overload = proto.overload ?? '';
    this.name = proto.name ?? '';
    // Most nodes of a long graph have none of either.
    this.#attributes =
      proto.attribute.length === 0
        ? NO_ATTRIBUTES
        : new Map(proto.attribute.map((attribute) => [attribute.name ?? '', attribute]));
  }

  /** Bodies of If, Loop and Scan, by attribute name. */
  get bodies(): ReadonlyMap<string, Graph> {
    return this.#bodies ?? NO_BODIES;
  }

  /** Gives it a body; for loading only. */
  addBody(attribute: string, body: Graph): void {
    this.#bodies ??= new Map();
    this.#bodies.set(attribute, body);
  }

  /** True for an operator of the standard set. */
  is(...opTypes: string[]): boolean {
    return this.domain === '' && opTypes.includes(this.opType);
  }

  /** True for an operator of a domain such as `com.microsoft`. */
  isFrom(domain: string, ...opTypes: string[]): boolean {
    return this.domain === domain && opTypes.includes(this.opType);
  }

  /** The operator with its domain, as a person writes it. */
  get operator(): string {
    return this.domain === '' ? this.opType : `${this.domain}.${this.opType}`;
  }

  /** What a user can find the node by: its name, else its first output. */
  get label(): string {
    return this.name || this.outputs.find((output) => output)?.name || this.opType;
  }

  attribute(name: string): AttributeProto | undefined {
    return this.#attributes.get(name);
  }

  int(name: string): number | undefined {
    const value = this.#attributes.get(name)?.i;
    return value === undefined ? undefined : Number(value);
  }

  float(name: string): number | undefined {
    return this.#attributes.get(name)?.f;
  }

  ints(name: string): number[] | undefined {
    return this.#attributes.get(name)?.ints.map(Number);
  }

  string(name: string): string | undefined {
    const value = this.#attributes.get(name)?.s;
    return value === undefined ? undefined : Buffer.from(value).toString('utf8');
  }

  tensor(name: string): TensorProto | undefined {
    return this.#attributes.get(name)?.t;
  }

  /** A metadata entry that the exporter left on the node. */
  metadata(key: string): string | undefined {
    return this.proto.metadataProps.find((entry: StringStringEntry) => entry.key === key)?.value;
  }

  /** Sets one input and keeps the use lists; for `Graph` and `Model` only. */
  connect(index: number, value: Value | undefined): void {
    const old = this.#uses[index];
    if (old) this.inputs[index]?.uses.delete(old);
    this.#uses[index] = undefined;
    this.inputs[index] = value;
    if (value) {
      const use = { node: this, index };
      this.#uses[index] = use;
      value.uses.add(use);
    }
  }

  /** Takes the node out of all use lists; for `Graph` only. */
  disconnect(): void {
    this.inputs.forEach((value, index) => {
      const use = this.#uses[index];
      if (use) value?.uses.delete(use);
      this.#uses[index] = undefined;
    });
  }

  /** Enters the node into the use lists again after `disconnect`; for `Graph` only. */
  reconnect(): void {
    this.inputs.forEach((value, index) => {
      this.connect(index, value);
    });
  }
}
