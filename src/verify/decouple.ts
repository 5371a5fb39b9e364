import type { Model, Value } from '../ir';
import { DataType } from '../onnx';
import { encodeFloats } from '../onnx/floats';
import { addInput, addNode, firstReaderPlace } from './edit';
import type { LayerUnderTest } from './layer-reference';
import { type Place, scopeAt, valueAt } from './places';
import { type Tensor, tensorFromBytes, toFloat64, zeros } from './tensor';

const SWITCH = 'diffx/decoupled';

/** What the readers of an attention get instead of what it gives. */
interface Ear {
  readonly place: Place;
  readonly input: string;
  readonly dtype: DataType;
}

/** Inputs of a changed copy by which attentions no longer hear one another. */
export class Decoupling {
  constructor(readonly ears: readonly Ear[]) {}

  /** Everybody reads what the attentions of this run give. */
  get off(): Record<string, Tensor> {
    return this.#feeds(0, () => undefined);
  }

  /**
   * Everybody reads what was heard in another run, so that what flows into each attention is what flowed into it there;
   * zeros where nothing was heard, as in loops.
   */
  on(heard: (place: Place) => Tensor | undefined): Record<string, Tensor> {
    return this.#feeds(1, heard);
  }

  #feeds(on: 0 | 1, heard: (place: Place) => Tensor | undefined): Record<string, Tensor> {
    const feeds: Record<string, Tensor> = {
      [SWITCH]: { dtype: DataType.BOOL, shape: [], data: Uint8Array.of(on) },
    };
    for (const { place, input, dtype } of this.ears) {
      const tensor = heard(place);
      feeds[input] = tensor ? asType(tensor, place, dtype) : zeros(dtype, []);
    }
    return feeds;
  }
}

/** Where the output of a layer stands. */
export function outputPlace({ layer, scope }: LayerUnderTest): Place {
  return { scope, name: layer.output };
}

/**
 * Adds inputs by which nobody reads what the attentions give: what flows into each of them then no longer depends on the
 * others.
 */
export function decouple(model: Model, layers: readonly LayerUnderTest[]): Decoupling {
  const flag = addInput(model.graph, SWITCH, DataType.BOOL, []);
  const ears = layers.flatMap((under): Ear[] => {
    const place = outputPlace(under);
    const value = valueAt(model, place);
    const dtype = (value?.type?.tensorType?.elemType ?? under.site.dataType) as DataType;
    return value ? [{ place, input: replace(value, flag, dtype), dtype }] : [];
  });
  return new Decoupling(ears);
}

/** Readers read an input: not a product with 0, which NaN survives. Its shape is open: a scalar is broadcast. */
function replace(value: Value, flag: Value, elemType: number): string {
  const { scope, name } = value;
  const uses = [...value.uses];
  const input = scope.model.graph.addInput(`diffx/heard/${name}`, { tensorType: { elemType } });
  const heard = addNode(scope, firstReaderPlace(value), 'Where', [flag, input, value], `${name}/heard`);
  for (const { node, index } of uses) node.graph.setInput(node, index, heard);
  return input.name;
}

/** True for places of which each run has one value: not in loops, of which the first round is shown. */
export function isHeardWhole(model: Model, { scope }: Place): boolean {
  for (let depth = scope.length; depth > 0; depth--) {
    if (!scopeAt(model, scope.slice(0, depth))?.owner?.is('If')) return false;
  }
  return true;
}

/** What is shown out of a branch is float32 whatever it was. */
function asType(tensor: Tensor, { scope }: Place, dtype: DataType): Tensor {
  if (scope.length === 0 || tensor.dtype === dtype) return tensor;
  return tensorFromBytes(dtype, tensor.shape, encodeFloats(dtype, Float32Array.from(toFloat64(tensor))));
}
