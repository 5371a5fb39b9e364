import type { GraphProto, NodeProto, TensorProto, TypeProto } from '../onnx';
import type { Model } from './model';
import { Node } from './node';
import { NodeOrder } from './node-order';
import { pushAll } from './push-all';
import { Value } from './value';

/** What a new node is made from. Outputs are named by the caller, who mints the names. */
export interface NodeSpec {
  readonly proto: NodeProto;
  readonly inputs: readonly (Value | undefined)[];
}

/** A scope: the main graph, the body of an If, Loop or Scan, or a local function. */
export class Graph {
  readonly nodes: Node[] = [];
  readonly inputs: Value[] = [];
  readonly outputs: Value[] = [];
  /** How many of the outputs each value is. */
  readonly #given = new Map<Value, number>();
  /** Values defined in this scope, by name. */
  readonly values = new Map<string, Value>();
  #order = new NodeOrder();

  constructor(
    readonly model: Model,
    /** The message it was read from; undefined for functions. */
    readonly proto: GraphProto | undefined,
    /** The scope around it, for bodies. */
    readonly parent: Graph | undefined,
    /** The node whose body it is. */
    readonly owner: Node | undefined,
    /** A name for messages: the graph's own, or `<function>`. */
    readonly label: string,
  ) {}

  /** Finds a value by name, here or in the scopes around. */
  find(name: string): Value | undefined {
    return this.values.get(name) ?? this.parent?.find(name);
  }

  /** Defines a value. The name must be new in this scope. */
  define(name: string, type?: TypeProto): Value {
    const value = new Value(name, this);
    value.type = type;
    this.values.set(name, value);
    this.model.names.reserve(name);
    this.model.journal.record(() => {
      this.values.delete(name);
    });
    return value;
  }

  /** Adds a constant under a free name close to the wish. */
  addInitializer(wish: string, tensor: TensorProto): Value {
    const name = this.model.names.mint(wish);
    const value = this.define(name);
    value.initializer = { ...tensor, name };
    return value;
  }

  /** Adds a graph input under a free name close to the wish. */
  addInput(wish: string, type: TypeProto): Value {
    const value = this.define(this.model.names.mint(wish), type);
    value.isInput = true;
    this.inputs.push(value);
    this.model.journal.record(() => {
      this.inputs.splice(this.inputs.indexOf(value), 1);
    });
    return value;
  }

  /** Adds an output behind the others. */
  addOutput(value: Value): void {
    this.outputs.push(value);
    this.#count(value, 1);
    this.model.journal.record(() => {
      this.outputs.pop();
      this.#count(value, -1);
    });
  }

  #count(output: Value, more: number): void {
    this.#given.set(output, (this.#given.get(output) ?? 0) + more);
  }

  /** True if a value is one of the outputs. */
  gives(value: Value): boolean {
    return (this.#given.get(value) ?? 0) > 0;
  }

  /** Replaces one output of the scope; its name must be kept by the caller where callers see it. */
  setOutput(index: number, value: Value): void {
    const old = this.outputs[index];
    if (!old) throw new Error(`graph ${this.label} has no output ${index}`);
    const set = (from: Value, to: Value) => {
      this.outputs[index] = to;
      this.#count(from, -1);
      this.#count(to, 1);
    };
    set(old, value);
    this.model.journal.record(() => set(value, old));
  }

  /** Where a node stands among the nodes; -1 if it is not one of them. */
  indexOf(node: Node): number {
    return this.#order.indexOf(this.nodes, node);
  }

  /** Some nodes of this graph in the order in which they stand; what it costs depends on how many they are. */
  sorted(nodes: Iterable<Node>): Node[] {
    return this.#order.sorted(this.nodes, nodes);
  }

  /** Inserts new nodes before an existing one, in the order given. The outputs must be free names. */
  insertBefore(anchor: Node | undefined, specs: readonly NodeSpec[]): Node[] {
    const at = anchor ? this.indexOf(anchor) : this.nodes.length;
    if (at < 0) throw new Error(`node ${anchor?.label} is not in graph ${this.label}`);
    const made = specs.map((spec) => this.#make(spec));
    this.#order.insert(this.nodes, at, made);
    if (at === this.nodes.length) pushAll(this.nodes, made);
    else this.nodes.splice(at, 0, ...made);
    this.model.journal.record(() => {
      for (const node of made) this.nodes.splice(this.indexOf(node), 1);
    });
    return made;
  }

  /**
   * Puts new nodes in the place of some, and of those that came in their place, all in one go: what it costs does not
   * depend on where they stand.
   * @param replace makes what stands for a node, which gives its outputs up before; undefined keeps the node
   */
  replaceNodes(
    replace: (node: Node, make: (spec: NodeSpec) => Node) => (() => readonly Node[]) | undefined,
  ): void {
    const kept: Node[] = [];
    const open = [...this.nodes].reverse();
    for (let node = open.pop(); node; node = open.pop()) {
      const stand = replace(node, (spec) => this.#make(spec));
      if (!stand) {
        kept.push(node);
        continue;
      }
      this.#release(node);
      pushAll(open, [...stand()].reverse());
    }
    this.#setNodes(kept);
  }

  #release(node: Node): void {
    node.disconnect();
    for (const value of node.outputs) if (value) value.producer = undefined;
    this.model.journal.record(() => {
      node.outputs.forEach((value, index) => {
        if (value) Object.assign(value, { producer: node, outputIndex: index });
      });
      node.reconnect();
    });
  }

  #setNodes(nodes: readonly Node[]): void {
    const set = (next: readonly Node[]) => {
      this.nodes.length = 0;
      pushAll(this.nodes, next);
      this.#order = new NodeOrder();
    };
    const old = [...this.nodes];
    set(nodes);
    this.model.journal.record(() => set(old));
  }

  #make(spec: NodeSpec): Node {
    const node = new Node(spec.proto, this);
    this.model.journal.record(() => node.disconnect());
    spec.inputs.forEach((value, index) => {
      node.connect(index, value);
    });
    spec.proto.output.forEach((name, index) => {
      if (name === '') {
        node.outputs.push(undefined);
        return;
      }
      const value = this.values.get(name) ?? this.define(name);
      if (value.producer) throw new Error(`value ${name} has a producer already`);
      value.producer = node;
      value.outputIndex = index;
      node.outputs.push(value);
      this.model.journal.record(() => {
        value.producer = undefined;
      });
    });
    return node;
  }

  /** Gives a node, such as an If whose bodies give more, a further output under a free name close to the wish. */
  addNodeOutput(node: Node, wish: string): Value {
    const value = this.define(this.model.names.mint(wish));
    value.producer = node;
    value.outputIndex = node.outputs.length;
    node.outputs.push(value);
    this.model.journal.record(() => {
      node.outputs.pop();
    });
    return value;
  }

  /** Takes a node out. Its outputs must have no readers left; they are no longer defined. */
  remove(node: Node): void {
    const at = this.indexOf(node);
    if (at < 0) throw new Error(`node ${node.label} is not in graph ${this.label}`);
    node.disconnect();
    this.nodes.splice(at, 1);
    const outputs = node.outputs.filter((value) => value !== undefined);
    for (const value of outputs) this.values.delete(value.name);
    this.model.journal.record(() => {
      for (const value of outputs) this.values.set(value.name, value);
      this.#order.insert(this.nodes, at, [node]);
      this.nodes.splice(at, 0, node);
      node.reconnect();
    });
  }

  /** Takes an initializer out that has no readers left. */
  removeInitializer(value: Value): void {
    this.values.delete(value.name);
    this.model.journal.record(() => {
      this.values.set(value.name, value);
    });
  }

  /** Puts nodes of this graph, in the order given, right behind another one. */
  moveBehind(place: Node, moved: readonly Node[]): void {
    const before = [...this.nodes];
    const leaving = new Set(moved);
    const after = before.flatMap((node) =>
      leaving.has(node) ? [] : node === place ? [node, ...moved] : [node],
    );
    const arrange = (order: readonly Node[]) => {
      order.forEach((node, index) => {
        this.nodes[index] = node;
      });
      this.#order.forget();
    };
    arrange(after);
    this.model.journal.record(() => arrange(before));
  }

  /** Makes a node read another value. */
  setInput(node: Node, index: number, value: Value | undefined): void {
    const old = node.inputs[index];
    node.connect(index, value);
    this.model.journal.record(() => {
      node.connect(index, old);
    });
  }

  /** Makes every reader of one value read another, except the nodes named. Outputs of the scope stay. */
  redirect(from: Value, to: Value, except: ReadonlySet<Node> = new Set()): void {
    for (const use of [...from.uses]) {
      if (!except.has(use.node)) this.setInput(use.node, use.index, to);
    }
  }

  /** Gives a value another name; readers and outputs follow, since they refer to the value. */
  rename(value: Value, name: string): void {
    const old = value.name;
    const set = (next: string) => {
      value.scope.values.delete(value.name);
      value.name = next;
      value.scope.values.set(next, value);
    };
    set(name);
    this.model.names.reserve(name);
    this.model.journal.record(() => set(old));
  }

  /** Changes the declared type of a value. */
  setType(value: Value, type: TypeProto | undefined): void {
    const old = value.type;
    value.type = type;
    this.model.journal.record(() => {
      value.type = old;
    });
  }

  /** What the node around hands a value of its body on as; of a Loop, the first output of the body is its condition. */
  handedOut(value: Value): Value | undefined {
    const index = this.outputs.indexOf(value);
    const { owner } = this;
    return index < 0 || !owner ? undefined : owner.outputs[owner.is('Loop') ? index - 1 : index];
  }

  /** This graph and all bodies inside it, outermost first. */
  *scopes(): Iterable<Graph> {
    yield this;
    for (const node of this.nodes) {
      for (const body of node.bodies.values()) yield* body.scopes();
    }
  }
}
