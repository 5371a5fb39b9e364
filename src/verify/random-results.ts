import type { Graph, Model, Node } from '../ir';
import { compare } from './compare';
import type { Session } from './session';
import type { Tensor } from './tensor';

/** Operators that give something else each time, with a seed too: its sequence goes on from run to run. */
const RANDOM = [
  'Bernoulli',
  'Multinomial',
  'RandomNormal',
  'RandomNormalLike',
  'RandomUniform',
  'RandomUniformLike',
];

/**
 * A node that draws random numbers, where the model gives something else each time it runs with the same inputs: no two
 * models can be compared then. A model without such a node is not run for this.
 * @param first inputs, and what the model gave for them
 */
export async function randomNode(
  model: Model,
  session: Session,
  first: { readonly feeds: Record<string, Tensor>; readonly outputs: Record<string, Tensor> },
): Promise<Node | undefined> {
  const node = drawing(model);
  if (!node) return undefined;
  const again = await session.run(first.feeds);
  return compare(first.outputs, again).passed ? undefined : node;
}

function drawing(model: Model): Node | undefined {
  const graphs: Graph[] = [model.graph, ...model.functions.map(({ body }) => body)];
  for (const graph of graphs) {
    for (const { nodes } of graph.scopes()) {
      const node = nodes.find((each) => each.is(...RANDOM));
      if (node) return node;
    }
  }
  return undefined;
}
