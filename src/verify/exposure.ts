import type { Graph, Model, Node, Value } from '../ir';
import { DataType } from '../onnx';
import { addNode, intAttribute, tensorAttribute } from './edit';
import { keyOf, type Place, valueAt } from './places';
import { type Tensor, zeros } from './tensor';

/** Values of a model that a run shows beside its outputs. */
export interface Exposure {
  /** What a run has shown. */
  read(outputs: Readonly<Record<string, Tensor>>): Shown;
}

/** Values by the keys of their places. What is not computed, or in a Loop, a Scan or a function, cannot be shown. */
export interface Shown {
  readonly values: ReadonlyMap<string, Tensor>;
  /** In branches that were not taken. */
  readonly notTaken: ReadonlySet<string>;
}

/** Makes values outputs of the main graph, those in branches of an If included. */
export function expose(model: Model, places: Iterable<Place>): Exposure {
  const outputs = new Map<string, { readonly output: string; readonly lifted: boolean }>();
  const lifts = new Map<Value, Value | undefined>();
  for (const place of places) {
    const value = valueAt(model, place);
    if (!value?.producer) continue;
    const shown = lifts.has(value) ? lifts.get(value) : liftOut(value);
    lifts.set(value, shown);
    if (!shown) continue;
    outputs.set(keyOf(place), { output: shown.name, lifted: shown !== value });
    if (!shown.isOutput) model.graph.addOutput(shown);
  }
  return {
    read(results) {
      const values = new Map<string, Tensor>();
      const notTaken = new Set<string>();
      for (const [key, { output, lifted }] of outputs) {
        const tensor = results[output];
        if (!tensor) continue;
        if (lifted && tensor.shape.join() === NOT_TAKEN.shape.join()) notTaken.add(key);
        else values.set(key, tensor);
      }
      return { values, notTaken };
    },
  };
}

/** What the other branch gives. Nothing in an attention has this shape. */
const NOT_TAKEN = zeros(DataType.FLOAT, [0]);

/**
 * The value itself if it is one of the main graph; for one in a branch of an If, an output of the If as float32, for
 * which the other branch gives a placeholder.
 */
function liftOut(value: Value): Value | undefined {
  const { scope } = value;
  const { parent, owner } = scope;
  if (!parent || !owner) return scope === scope.model.graph ? value : undefined;
  if (!owner.is('If')) return undefined;
  const wish = `${value.name}/shown`;
  scope.addOutput(addNode(scope, undefined, 'Cast', [value], wish, [intAttribute('to', DataType.FLOAT)]));
  for (const body of owner.bodies.values()) {
    const nothing = [tensorAttribute('value', NOT_TAKEN)];
    if (body !== scope) body.addOutput(addNode(body, undefined, 'Constant', [], wish, nothing));
  }
  return liftOut(addOutputOf(owner, parent, wish));
}

function addOutputOf(node: Node, scope: Graph, wish: string): Value {
  const value = scope.define(scope.model.names.mint(wish));
  value.producer = node;
  value.outputIndex = node.outputs.length;
  node.outputs.push(value);
  return value;
}
