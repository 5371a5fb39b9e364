import type { LocatedSite } from '../../attention/find';
import type { RewrittenLayer } from '../../attention/record';
import type { Model, Node, Value } from '../../ir';
import { digits } from '../text';
import type { Drawn } from './subgraph';

/** What is drawn of an attention as a model has it: everything up to the product with the values, or the fused operator. */
export function drawnSite({ query, key, core, anchor }: LocatedSite): Drawn {
  const operands = labelled([
    [query.operand, 'Q'],
    [key.operand, 'K'],
    [core.values, 'V'],
  ]);
  const { output: end } = core;
  if (core.kind === 'operator')
    return { end, heart: core.node, heartKind: 'attention', heartDetails: [], operands };
  return { end, heart: anchor, heartKind: 'softmax', heartDetails: [], operands };
}

/**
 * What is drawn of an attention that diffx has rewritten; undefined where its node is not there any more.
 * @param lambda as it is in the model, where it is one number
 */
export function drawnLayer(model: Model, layer: RewrittenLayer, lambda: number | null): Drawn | undefined {
  for (const graph of model.scopes()) {
    const heart = graph.nodes.find((node) => node.label === layer.node);
    const [end] = heart?.outputs ?? [];
    if (!heart || !end) continue;
    const parts = Object.entries(layer.start).flatMap(([label, name]): [Value, string][] => {
      const value = valueIn(heart, name);
      return value ? [[value, label]] : [];
    });
    const heartDetails = lambda === null ? [] : [`lambda ${digits(lambda, 4)}`];
    return { end, heart, heartKind: 'differential', heartDetails, operands: labelled(parts) };
  }
  return undefined;
}

/** A value that a node can see, by its name. */
function valueIn(node: Node, name: string): Value | undefined {
  return node.inputs.find((input) => input?.name === name) ?? node.graph.values.get(name);
}

/** One value can be several parts: keys and values that a fused operator reads from one input. */
function labelled(parts: readonly (readonly [Value, string])[]): ReadonlyMap<Value, string> {
  const labels = new Map<Value, string>();
  for (const [value, label] of parts) {
    const known = labels.get(value);
    labels.set(value, known === undefined ? label : `${known}, ${label}`);
  }
  return labels;
}
