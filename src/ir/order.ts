import { errors } from '../errors';
import type { Graph } from './graph';
import type { Node } from './node';
import { pushAll } from './push-all';
import type { Value } from './value';

/** The values a node needs: its inputs, and what its bodies take from the scopes around them. */
export function dependencies(node: Node): Iterable<Value> {
  return node.bodies.size === 0 ? node.inputs.filter((input) => input !== undefined) : allDependencies(node);
}

function* allDependencies(node: Node): Iterable<Value> {
  for (const input of node.inputs) if (input) yield input;
  for (const body of node.bodies.values()) {
    for (const inner of body.nodes) {
      for (const value of dependencies(inner)) if (!isWithin(value.scope, body)) yield value;
    }
    for (const output of body.outputs) if (!isWithin(output.scope, body)) yield output;
  }
}

function isWithin(scope: Graph, body: Graph): boolean {
  for (let at: Graph | undefined = scope; at; at = at.parent) if (at === body) return true;
  return false;
}

/** True if every node stands behind the producers of what it reads. */
export function isSorted(graph: Graph): boolean {
  const seen = new Set<Node>();
  for (const node of graph.nodes) {
    for (const value of dependencies(node)) {
      if (value.scope === graph && value.producer && !seen.has(value.producer)) return false;
    }
    seen.add(node);
  }
  return true;
}

/** Puts nodes behind their producers and otherwise leaves them in the order they had. */
export function sortNodes(graph: Graph): void {
  if (isSorted(graph)) return;
  const sorted: Node[] = [];
  const state = new Map<Node, 'open' | 'done'>();
  for (const root of graph.nodes) {
    const stack: { node: Node; rest: Iterator<Value> }[] = [];
    const enter = (node: Node) => {
      if (state.get(node) === 'done') return;
      if (state.get(node) === 'open') {
        throw errors.invalidGraph(graph.model.file.path, `node '${node.label}' depends on its own output`);
      }
      state.set(node, 'open');
      stack.push({ node, rest: dependencies(node)[Symbol.iterator]() });
    };
    enter(root);
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const next = top.rest.next();
      if (next.done) {
        state.set(top.node, 'done');
        sorted.push(top.node);
        stack.pop();
      } else if (next.value.scope === graph && next.value.producer) {
        enter(next.value.producer);
      }
    }
  }
  graph.nodes.length = 0;
  pushAll(graph.nodes, sorted);
}
