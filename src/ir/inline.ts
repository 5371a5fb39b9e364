import { errors } from '../errors';
import { type AttributeProto, derive, type FunctionProto, type GraphProto, type NodeProto } from '../onnx';
import type { Graph } from './graph';
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

/** The functions behind the calls that an inlined node came from, outermost first. */
export type Origins = ReadonlyMap<Node, readonly LocalFunction[]>;

/** Functions that call functions double with every level: more nodes than these have no model that was meant. */
const MOST_NODES = 1 << 18;

/**
 * Inlines every call of the functions wanted, in the main graph and its bodies; calls inside them too. Functions that
 * nobody calls any more are taken out.
 * @throws invalidGraph for functions that call themselves, or come to more nodes than any model has
 */
export function inlineFunctions(model: Model, isWanted: (fn: LocalFunction) => boolean): Origins {
  const wanted = new Map(
    model.functions.filter(isWanted).map((fn) => [keyOfFunction(fn.proto), fn] as const),
  );
  const origins = new Map<Node, readonly LocalFunction[]>();
  refuseEndless(model, wanted);
  const visit = (graph: Graph) => {
    for (let at = 0; at < graph.nodes.length; ) {
      const node = graph.nodes[at];
      const fn = node && wanted.get(functionKey(node.domain, node.opType, node.overload));
      if (node && fn) {
        const chain = [...(origins.get(node) ?? []), fn];
        for (const made of inlineCall(graph, node, fn)) origins.set(made, chain);
      } else {
        for (const body of node?.bodies.values() ?? []) visit(body);
        at++;
      }
    }
  };
  visit(model.graph);
  removeUncalled(model, new Set(wanted.values()));
  return origins;
}

/** Counts, before anything is inlined, what all calls come to. */
function refuseEndless(model: Model, wanted: ReadonlyMap<string, LocalFunction>): void {
  const sizes = new Map<LocalFunction, number | undefined>();
  const invalid = (reason: string) => errors.invalidGraph(model.file.path, reason);
  const nodesOf = (graph: Graph): number => {
    let all = 0;
    for (const scope of graph.scopes()) {
      for (const { domain, opType, overload } of scope.nodes) {
        const fn = wanted.get(functionKey(domain, opType, overload));
        all += fn ? sizeOf(fn) : 1;
      }
    }
    return all;
  };
  const sizeOf = (fn: LocalFunction): number => {
    const known = sizes.get(fn);
    if (known !== undefined) return known;
    // Open until it is known.
    if (sizes.has(fn)) throw invalid(`${fn.body.label} calls itself`);
    sizes.set(fn, undefined);
    const size = nodesOf(fn.body);
    sizes.set(fn, size);
    return size;
  };
  if (nodesOf(model.graph) > MOST_NODES) throw invalid(`its functions come to more than ${MOST_NODES} nodes`);
}

function removeUncalled(model: Model, inlined: ReadonlySet<LocalFunction>): void {
  const called = new Set<string>();
  const open = [...model.functions.filter((fn) => !inlined.has(fn))];
  for (let fn = open.pop(); fn; fn = open.pop()) {
    for (const key of callsIn(fn)) {
      const other = model.functions.find(({ proto }) => keyOfFunction(proto) === key);
      if (other && !called.has(key)) open.push(other);
      called.add(key);
    }
  }
  for (const fn of inlined) if (!called.has(keyOfFunction(fn.proto))) model.removeFunction(fn);
}

/** Keys of the operators that a function uses, functions among them. */
export function callsIn({ body }: LocalFunction): Set<string> {
  const keys = new Set<string>();
  for (const scope of body.scopes())
    for (const { domain, opType, overload } of scope.nodes) keys.add(functionKey(domain, opType, overload));
  return keys;
}

function inlineCall(graph: Graph, call: Node, { proto, body }: LocalFunction): Node[] {
  importDomains(graph.model, proto, body);
  const copy = new BodyCopy(graph, call, proto);
  const made: Node[] = [];
  const insert = (node: NodeProto, inputs: (Value | undefined)[]) => {
    const [inserted] = graph.insertBefore(call, [{ proto: node, inputs }]);
    if (!inserted) throw new Error(`${call.label}: nothing inserted`);
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
      graph.setType(value, formal.type);
    });
  }
  const given = new Set<Value>(call.inputs.flatMap((input) => input ?? []));
  proto.output.forEach((name, index) => {
    const old = call.outputs[index];
    let value = copy.values.get(name);
    if (!old || !value) return;
    if (given.has(value)) [value] = insert(copy.identity(), [value]).outputs;
    if (!value) return;
    given.add(value);
    replace(graph, old, value);
  });
  graph.remove(call);
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

/** Puts a value in the place of another one, under its name. */
function replace(graph: Graph, old: Value, next: Value): void {
  const { name, type } = old;
  graph.redirect(old, next);
  graph.outputs.forEach((output, index) => {
    if (output === old) graph.setOutput(index, next);
  });
  graph.rename(old, graph.model.names.mint(`${name}/call`));
  graph.rename(next, name);
  if (type) graph.setType(next, type);
}

/** The nodes of a function as one call of it has them. */
class BodyCopy {
  /** What stands for the names of the body. */
  readonly values = new Map<string, Value | undefined>();

  constructor(
    readonly graph: Graph,
    readonly call: Node,
    readonly proto: FunctionProto,
  ) {
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
      output: node.output.map((name) => (name === '' ? '' : this.#mint(name))),
      attribute: this.#attributes(node.attribute, new Map()),
    });
  }

  identity(): NodeProto {
    const name = this.#mint('Identity');
    const output = [this.#mint('passed')];
    return { opType: 'Identity', name, input: [], output, attribute: [], metadataProps: [] };
  }

  #mint(name: string): string {
    return this.graph.model.names.mint(`${this.call.label}/${name}`);
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
