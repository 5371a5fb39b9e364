import type { Model, Value } from '../ir';
import { DataType } from '../onnx';
import { addNode, intAttribute, tensorAttribute } from './edit';
import { keyOf, type Place, valueAt } from './places';
import { elementCount, type Tensor, zeros } from './tensor';

/** Values of a model that a run shows beside its outputs. */
export interface Exposure {
  /** What a run has shown. */
  read(outputs: Readonly<Record<string, Tensor>>): Shown;
}

/** Values by the keys of their places. What is not computed, or in a function, cannot be shown. */
export interface Shown {
  readonly values: ReadonlyMap<string, Tensor>;
  /** In branches that were not taken, or loops that were not entered. */
  readonly notTaken: ReadonlySet<string>;
}

/** Makes values outputs of the main graph, those in bodies included; of a loop, the first round is shown. */
export function expose(model: Model, places: Iterable<Place>): Exposure {
  const lifts = new Map<Value, Lifted | undefined>();
  const shown = new Map<string, Lifted>();
  for (const place of places) {
    const value = valueAt(model, place);
    // What the main graph takes is fed; what a body takes, nobody else shows.
    if (!value?.producer && !(value?.isInput && value.scope.parent)) continue;
    const lifted = lifts.has(value) ? lifts.get(value) : liftOut(value);
    lifts.set(value, lifted);
    if (!lifted) continue;
    shown.set(keyOf(place), lifted);
    if (!lifted.value.isOutput) model.graph.addOutput(lifted.value);
  }
  return { read: (outputs) => readShown(shown, outputs) };
}

function readShown(shown: ReadonlyMap<string, Lifted>, outputs: Readonly<Record<string, Tensor>>): Shown {
  const values = new Map<string, Tensor>();
  const notTaken = new Set<string>();
  for (const [key, { value, from }] of shown) {
    const tensor = outputs[value.name];
    if (!tensor) continue;
    const first = firstRound(tensor, from.filter((opType) => opType !== 'If').length);
    const taken = !from.includes('If') || first?.shape.join() !== NOT_TAKEN.shape.join();
    if (first && taken) values.set(key, first);
    else notTaken.add(key);
  }
  return { values, notTaken };
}

/** Loops stack what each round gives on new axes at the front. */
function firstRound(tensor: Tensor, loops: number): Tensor | undefined {
  const shape = tensor.shape.slice(loops);
  if (tensor.shape.slice(0, loops).includes(0)) return undefined;
  return { ...tensor, shape, data: tensor.data.slice(0, elementCount(shape)) };
}

/** A value of the main graph that shows one inside. */
interface Lifted {
  readonly value: Value;
  /** Operators out of whose bodies it was lifted. */
  readonly from: readonly string[];
}

/** What the other branch gives. Nothing in an attention has this shape. */
const NOT_TAKEN = zeros(DataType.FLOAT, [0]);

/**
 * The value itself if it is one of the main graph; for one in a body, a further output of the node around as float32.
 * The other branch of an If gives a placeholder.
 */
function liftOut(value: Value): Lifted | undefined {
  const { scope } = value;
  const { parent, owner } = scope;
  if (!parent || !owner) return scope === scope.model.graph ? { value, from: [] } : undefined;
  const listed = owner.attribute('scan_output_axes') ?? owner.attribute('scan_output_directions');
  if (!owner.is('If', 'Loop', 'Scan') || listed) return undefined;
  const wish = `${value.name}/shown`;
  scope.addOutput(addNode(scope, undefined, 'Cast', [value], wish, [intAttribute('to', DataType.FLOAT)]));
  for (const body of owner.bodies.values()) {
    const nothing = [tensorAttribute('value', NOT_TAKEN)];
    if (body !== scope) body.addOutput(addNode(body, undefined, 'Constant', [], wish, nothing));
  }
  const outer = liftOut(parent.addNodeOutput(owner, wish));
  return outer && { value: outer.value, from: [owner.opType, ...outer.from] };
}
