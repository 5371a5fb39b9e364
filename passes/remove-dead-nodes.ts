import type { Graph, Model, Node, Value } from '../src/ir';
import { dependencies, pushAll } from '../src/ir';
import type { Cleanup } from '../src/rewrite/run';

/**
 * What a graph does not need for its outputs. Nodes without outputs that anyone names are dead too.
 * @param keep nodes that stay, with all that they read
 */
function deadNodes(graph: Graph, keep: ReadonlySet<Node> = new Set()): Set<Node> {
  const kept = graph.nodes.filter((node) => keep.has(node));
  const live = new Set<Node>(kept);
  const open: Value[] = [...graph.outputs, ...kept.flatMap((node) => [...dependencies(node)])];
  for (let value = open.pop(); value; value = open.pop()) {
    const node = value.scope === graph ? value.producer : undefined;
    if (!node || live.has(node)) continue;
    live.add(node);
    pushAll(open, dependencies(node));
  }
  return new Set(graph.nodes.filter((node) => !live.has(node)));
}

/**
 * Takes out what a rewrite has made unnecessary: nodes, and the constants that only they read. What was dead before is
 * the user's and stays.
 */
export const removeDeadNodes: Cleanup = {
  name: 'remove-dead-nodes',
  prepare(model) {
    const keep = new Set([...model.scopes()].flatMap((graph) => [...deadNodes(graph)]));
    return () => removeFrom(model, keep);
  },
};

function removeFrom(model: Model, keep: ReadonlySet<Node>): void {
  for (const graph of [...model.scopes()]) {
    const dead = [...deadNodes(graph, keep)];
    const constants = new Set<Value>();
    for (const node of dead.reverse()) {
      for (const input of node.inputs) if (input?.isInitializer) constants.add(input);
      graph.remove(node);
    }
    for (const value of constants) {
      if (value.uses.size === 0 && !value.isOutput) value.scope.removeInitializer(value);
    }
  }
}
