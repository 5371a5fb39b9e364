import { errors } from '../errors';
import { type AttributeProto, derive, type FunctionProto, type GraphProto, type NodeProto } from '../onnx';
import type { Graph, NodeSpec } from './graph';
import { loadBodies } from './load';
import type { LocalFunction, Model } from './model';
import { canonicalDomain, type Node } from './node';
import type { Value } from './value';

/**
 * Puts the bodies of local functions in the place of their calls, as the operator standard says: formal inputs are those
 * of the call, attributes that refer to the call's are filled in, and every name inside becomes one that nobody has.
 */

/** What tells one function from another: domain, name and overload. */
export function functionKey(domain: string | undefined, name = '', overload = ''): string {
  return JSON.stringify([canonicalDomain(domain), name, overload]);
}

/** The key by which calls find a local function. */
export function keyOfFunction({ domain, name, overload }: FunctionProto): string {
  return functionKey(domain, name, overload);
}

/** What an attribute of a function's node is in a call: as it stands, that of the call, its default, or nothing. */
export function filledAttribute(
  attribute: AttributeProto,
  call: Node,
  fn: FunctionProto | undefined,
): AttributeProto[] {
  const { name, refAttrName } = attribute;
  if (!refAttrName) return [attribute];
  const given = call.attribute(refAttrName) ?? fn?.attributeProto.find((each) => each.name === refAttrName);
  return given ? [derive(given, { name: name ?? '' })] : [];
}

/** A call that was inlined, and the one in whose function it stood. */
export interface Origin {
  readonly fn: LocalFunction;
  readonly outer: Origin | undefined;
}

/** The call that each inlined node came from. */
export type Origins = ReadonlyMap<Node, Origin>;

/** Functions that call functions double with every level: more nodes than these have no model that was meant. */
const MOST_NODES = 1 << 18;

/** Bodies inside one another; protobuf's own decoders read no file that has more. */
const DEEPEST_BODY = 32;

/**
 * Inlines every call of the functions wanted, in the main graph and its bodies; calls inside them too. Functions that
 * nobody calls any more are taken out.
 * @throws invalidGraph for functions that call themselves, or come to more nodes or deeper bodies than any model has
 */
export function inlineFunctions(model: Model, isWanted: (fn: LocalFunction) => boolean): Origins {
  const wanted = new Map(
    model.functions.filter(isWanted).map((fn) => [keyOfFunction(fn.proto), fn] as const),
  );
  const origins = new Map<Node, Origin>();
  refuseEndless(model, wanted);
  const visit = (graph: Graph, depth: number) => {
    if (depth > DEEPEST_BODY) {
      const reason = `bodies lie more than ${DEEPEST_BODY} deep in one another where functions are called`;
      throw errors.invalidGraph(model.file.path, reason);
    }
    graph.replaceNodes((node, make) => {
      const fn = wanted.get(functionKey(node.domain, node.opType, node.overload));
      if (!fn) {
        for (const body of node.bodies.values()) visit(body, depth + 1);
        return undefined;
      }
      return () => {
        const made = inlineCall(graph, node, fn, make);
        const origin = { fn, outer: origins.get(node) };
        for (const each of made) origins.set(each, origin);
        return made;
      };
    });
  };
  visit(model.graph, 0);
  removeUncalled(model, new Set(wanted.values()));
  return origins;
}

/** What the body of a function comes to: nodes of its own, and calls. */
interface Content {
  readonly own: number;
  readonly calls: readonly LocalFunction[];
}

/** Counts, before anything is inlined, what all calls come to. Without recursion: functions call one another as deep as they like. */
function refuseEndless(model: Model, wanted: ReadonlyMap<string, LocalFunction>): void {
  const invalid = (reason: string) => errors.invalidGraph(model.file.path, reason);
  const contentOf = (graph: Graph): Content => {
    let own = 0;
    const calls: LocalFunction[] = [];
    for (const scope of graph.scopes()) {
      for (const { domain, opType, overload } of scope.nodes) {
        const fn = wanted.get(functionKey(domain, opType, overload));
        if (fn) calls.push(fn);
        else own++;
      }
    }
    return { own, calls };
  };
  const sizes = new Map<LocalFunction, number>();
  const contents = new Map<LocalFunction, Content>();
  const main = contentOf(model.graph);
  const open = [...main.calls];
  for (let fn = open.at(-1); fn; fn = open.at(-1)) {
    const known = contents.get(fn);
    if (sizes.has(fn)) {
      open.pop();
    } else if (known) {
      sizes.set(fn, sizeOf(known, sizes));
      open.pop();
    } else {
      const content = contentOf(fn.body);
      contents.set(fn, content);
      for (const inner of new Set(content.calls)) {
        // Open until its size is known.
        if (contents.has(inner) && !sizes.has(inner)) throw invalid(`${inner.body.label} calls itself`);
        if (!sizes.has(inner)) open.push(inner);
      }
    }
  }
  if (sizeOf(main, sizes) > MOST_NODES) throw invalid(`its functions come to more than ${MOST_NODES} nodes`);
}

/** A call that comes to nothing is worth one node: it takes its time as well. */
function sizeOf({ own, calls }: Content, sizes: ReadonlyMap<LocalFunction, number>): number {
  return calls.reduce((all, fn) => all + Math.max(1, sizes.get(fn) ?? 0), own);
}

function removeUncalled(model: Model, inlined: ReadonlySet<LocalFunction>): void {
  const byKey = new Map(model.functions.map((fn) => [keyOfFunction(fn.proto), fn]));
  const called = new Set<string>();
  const open = [...model.functions.filter((fn) => !inlined.has(fn))];
  for (let fn = open.pop(); fn; fn = open.pop()) {
    for (const key of callsIn(fn)) {
      const other = byKey.get(key);
      if (other && !called.has(key)) open.push(other);
      called.add(key);
    }
  }
  model.removeFunctions(new Set([...inlined].filter((fn) => !called.has(keyOfFunction(fn.proto)))));
}

/** Keys of the operators that a function uses, functions among them. */
export function callsIn({ body }: LocalFunction): Set<string> {
  const keys = new Set<string>();
  for (const scope of body.scopes())
    for (const { domain, opType, overload } of scope.nodes) keys.add(functionKey(domain, opType, overload));
  return keys;
}

/** What stands for a call: whoever reads an output of it, or passes it on, does not notice. */
function inlineCall(
  graph: Graph,
  call: Node,
  { proto, body }: LocalFunction,
  make: (spec: NodeSpec) => Node,
): Node[] {
  importDomains(graph.model, proto, body);
  const copy = new BodyCopy(graph, call, proto);
  const made: Node[] = [];
  const insert = (node: NodeProto, inputs: (Value | undefined)[]) => {
    const inserted = make({ proto: node, inputs });
    loadBodies(inserted);
    made.push(inserted);
    return inserted;
  };
  for (const node of body.nodes) {
    const inserted = insert(copy.node(node.proto), copy.inputs(node.proto));
    node.outputs.forEach((formal, index) => {
      const value = inserted.outputs[index];
      if (!formal || !value) return;
      copy.values.set(formal.name, value);
      if (!value.type) graph.setType(value, formal.type);
    });
  }
  // An input that is passed on, or an output that is given twice.
  proto.output.forEach((name, index) => {
    const old = call.outputs[index];
    const value = copy.values.get(name);
    if (old && value && !old.producer) insert(copy.identity(old.name), [value]);
  });
  return made;
}

/** A model that calls a function need not import what only the function uses. */
function importDomains(model: Model, { opsetImport }: FunctionProto, body: Graph): void {
  const used = new Set([...body.scopes()].flatMap(({ nodes }) => nodes.map(({ domain }) => domain)));
  for (const { domain, version } of opsetImport) {
    const name = canonicalDomain(domain);
    if (used.has(name) && version !== undefined) model.importOpset(name, Number(version));
  }
}

/** Names grow with every call inside another one: of a longer one, its beginning. */
const LONGEST_PREFIX = 512;

/** The nodes of a function as one call of it has them. */
class BodyCopy {
  /** What stands for the names of the body. */
  readonly values = new Map<string, Value | undefined>();
  /** What the outputs of the call are called, by their names in the body. */
  readonly #given = new Map<string, string>();
  readonly #prefix: string;

  constructor(
    readonly graph: Graph,
    readonly call: Node,
    readonly proto: FunctionProto,
  ) {
    this.#prefix = call.label.slice(0, LONGEST_PREFIX);
    proto.output.forEach((name, index) => {
      const output = call.outputs[index];
      if (output && !this.#given.has(name)) this.#given.set(name, output.name);
    });
    proto.input.forEach((name, index) => {
      this.values.set(name, call.inputs[index]);
    });
  }

  inputs(node: NodeProto): (Value | undefined)[] {
    return node.input.map((name) => (name === '' ? undefined : this.values.get(name)));
  }

  /** A node without its inputs, with names of its own. */
  node(node: NodeProto): NodeProto {
    return derive(node, {
      name: this.#mint(node.name || node.opType || ''),
      input: [],
      output: node.output.map((name) => (name === '' ? '' : (this.#given.get(name) ?? this.#mint(name)))),
      attribute: this.#attributes(node.attribute, new Map()),
    });
  }

  identity(given: string): NodeProto {
    const name = this.#mint('Identity');
    const output = [given];
    return { opType: 'Identity', name, input: [], output, attribute: [], metadataProps: [] };
  }

  #mint(name: string): string {
    return this.graph.model.names.mint(`${this.#prefix}/${name}`);
  }

  #attributes(
    attributes: readonly AttributeProto[],
    inner: ReadonlyMap<string, string>,
  ): readonly AttributeProto[] {
    return attributes.flatMap((attribute) => {
      const { refAttrName, g, graphs } = attribute;
      if (refAttrName) return filledAttribute(attribute, this.call, this.proto);
      if (!g && graphs.length === 0) return [attribute];
      return [
        derive(attribute, {
          ...(g ? { g: this.#graph(g, inner) } : {}),
          graphs: graphs.map((each) => this.#graph(each, inner)),
        }),
      ];
    });
  }

  /** A body inside the function: what it defines is renamed, what it takes from around is what stands for that here. */
  #graph(graph: GraphProto, around: ReadonlyMap<string, string>): GraphProto {
    const names = new Map(around);
    const define = (name = '') => {
      if (name !== '' && !names.has(name)) names.set(name, this.#mint(name));
    };
    const defined = [
      ...graph.input.map(({ name }) => name),
      ...graph.initializer.map(({ name }) => name),
      ...graph.sparseInitializer.map(({ values }) => values?.name),
      ...graph.node.flatMap(({ output }) => output),
    ];
    for (const name of defined) names.delete(name ?? '');
    for (const name of defined) define(name);
    const of = (name = '') => names.get(name) ?? this.values.get(name)?.name ?? '';
    const kept = (name = '') => names.get(name) ?? name;
    return derive(graph, {
      input: graph.input.map((each) => derive(each, { name: of(each.name) })),
      output: graph.output.map((each) => derive(each, { name: of(each.name) })),
      valueInfo: graph.valueInfo.map((each) => derive(each, { name: kept(each.name) })),
      initializer: graph.initializer.map((each) => derive(each, { name: of(each.name) })),
      sparseInitializer: graph.sparseInitializer.map((each) =>
        each.values ? derive(each, { values: derive(each.values, { name: of(each.values.name) }) }) : each,
      ),
      node: graph.node.map((node) =>
        derive(node, {
          name: this.#mint(node.name || node.opType || ''),
          input: node.input.map((name) => (name === '' ? '' : of(name))),
          output: node.output.map((name) => (name === '' ? '' : of(name))),
          attribute: this.#attributes(node.attribute, names),
        }),
      ),
    });
  }
}
