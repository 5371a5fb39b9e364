import type { Graph, Model, Node, Value } from '../ir';
import { DataType } from '../onnx';
import { addNode, intAttribute, tensorAttribute } from './edit';
import { findValue } from './stored';
import { type Tensor, zeros } from './tensor';

/** Values of a model that a run shows beside its outputs. */
export interface Exposure {
  /** Names of values that cannot be shown: they are not computed, or in a Loop, a Scan or a function. */
  readonly hidden: readonly string[];
  /** What a run has shown, by the names of the values. What stands in a branch that was not taken is left out. */
  read(outputs: Readonly<Record<string, Tensor>>): Shown;
}

export interface Shown {
  readonly values: Readonly<Record<string, Tensor>>;
  /** Names of values in branches that were not taken. */
  readonly notTaken: ReadonlySet<string>;
}

/** Makes values outputs of the main graph, those in branches of an If included. */
export function expose(model: Model, names: Iterable<string>): Exposure {
  const hidden: string[] = [];
  const outputs = new Map<string, string>();
  for (const name of new Set(names)) {
    const value = findValue(model, name);
    const shown = value?.producer ? liftOut(value) : undefined;
    if (!shown) {
      hidden.push(name);
      continue;
    }
    outputs.set(name, shown.name);
    if (!shown.isOutput) model.graph.addOutput(shown);
  }
  return { hidden, read: (results) => readShown(outputs, results) };
}

function readShown(names: ReadonlyMap<string, string>, outputs: Readonly<Record<string, Tensor>>): Shown {
  const values: Record<string, Tensor> = {};
  const notTaken = new Set<string>();
  for (const [name, output] of names) {
    const tensor = outputs[output];
    if (!tensor) continue;
    if (name !== output && tensor.shape.join() === NOT_TAKEN.shape.join()) notTaken.add(name);
    else values[name] = tensor;
  }
  return { values, notTaken };
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
