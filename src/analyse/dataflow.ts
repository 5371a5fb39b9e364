import type { Graph, Model, Node, Value } from '../ir';

/** Tells which values depend on what the model is fed, beyond the shapes of it. */
export class Dataflow {
  readonly #depends = new Map<Value, boolean>();

  /**
   * @param throughShapes also follow what depends on the shapes of the feeds alone: a learned query, say, that is
   *   repeated for every example of a batch, and whatever is computed from it
   */
  constructor(
    model: Model,
    private readonly throughShapes = false,
  ) {
    for (const graph of [model.graph, ...model.functions.map(({ body }) => body)]) this.#visit(graph);
  }

  /** True if other feeds of the same shapes can give another value. */
  dependsOnData(value: Value | undefined): boolean {
    if (!value) return false;
    return this.#depends.get(value) ?? value.isInput;
  }

  #visit(graph: Graph): boolean {
    let any = false;
    for (const node of graph.nodes) {
      const inBodies = [...node.bodies.values()].map((body) => this.#visit(body)).includes(true);
      const depends =
        inBodies ||
        ((this.throughShapes || !isShapeReader(node)) &&
          node.inputs.some((input) => this.dependsOnData(input)));
      for (const output of node.outputs) if (output) this.#depends.set(output, depends);
      any ||= depends;
    }
    return any;
  }
}

/** Operators that look at the shape of their input only. */
export function isShapeReader(node: Node): boolean {
  return node.is('Shape', 'Size');
}

/** Values a node takes elements from: its inputs, but not what it only takes the shape of. */
export function dataInputs(node: Node): Value[] {
  return isShapeReader(node) ? [] : node.inputs.filter((input) => input !== undefined);
}

/**
 * All nodes from which `target` can be reached through data, in the order they stand, without going behind `stop`.
 * Only nodes of the target's own scope.
 */
export function ancestors(target: Value, stop: ReadonlySet<Value>): Node[] {
  const found = new Set<Node>();
  const open = [target];
  for (let value = open.pop(); value; value = open.pop()) {
    const node = stop.has(value) ? undefined : value.producer;
    if (!node || found.has(node) || node.graph !== target.scope) continue;
    found.add(node);
    if (isShapeReader(node)) continue;
    for (const input of node.inputs) if (input) open.push(input);
  }
  return inOrder(target.scope, found);
}

/** Of some nodes, those that the values of `start` flow into, in order. */
export function descendants(start: Iterable<Value>, among: readonly Node[]): Node[] {
  const reached = new Set<Value>(start);
  return among.filter((node) => {
    if (!dataInputs(node).some((input) => reached.has(input))) return false;
    for (const output of node.outputs) if (output) reached.add(output);
    return true;
  });
}

/** Puts nodes of one scope into the order in which they stand. */
export function inOrder(graph: Graph, nodes: ReadonlySet<Node>): Node[] {
  return graph.sorted(nodes);
}
