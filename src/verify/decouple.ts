import type { Model, Value } from '../ir';
import { DataType } from '../onnx';
import { addInput, addNode, firstReaderPlace, tensorAttribute } from './edit';
import type { LayerUnderTest } from './layer-reference';
import { valueAt } from './places';
import { type Tensor, zeros } from './tensor';

const SWITCH = 'diffx/decoupled';

/**
 * Adds an input under which nobody reads what the attentions give: what flows into each of them then no longer depends
 * on the others.
 */
export function decouple(model: Model, layers: readonly LayerUnderTest[]): void {
  const flag = addInput(model.graph, SWITCH, DataType.BOOL, []);
  for (const { layer, scope, site } of layers) {
    const value = valueAt(model, { scope, name: layer.output });
    if (value) silence(value, flag, site.dataType as DataType);
  }
}

/** What the input is fed. */
export function decoupled(on: boolean): Record<string, Tensor> {
  return { [SWITCH]: { dtype: DataType.BOOL, shape: [], data: Uint8Array.of(on ? 1 : 0) } };
}

/** Readers read zeros of the same shape: not a product with 0, which NaN survives. */
function silence(value: Value, flag: Value, dataType: DataType): void {
  const { scope, name } = value;
  const uses = [...value.uses];
  const place = firstReaderPlace(value);
  const shape = addNode(scope, place, 'Shape', [value], `${name}/shape`);
  const zero = [tensorAttribute('value', zeros(dataType, [1]))];
  const silent = addNode(scope, place, 'ConstantOfShape', [shape], `${name}/silent`, zero);
  const heard = addNode(scope, place, 'Where', [flag, silent, value], `${name}/heard`);
  for (const { node, index } of uses) node.graph.setInput(node, index, heard);
}
