import { elementType } from '../analyse';
import type { Value } from '../ir';
import type { TypeProto } from '../onnx';

/** A declared type with twice the size on one axis; a symbolic size gets a new name. */
export function doubledType(type: TypeProto | undefined, axis: number): TypeProto | undefined {
  const tensor = type?.tensorType;
  if (!type || !tensor?.shape) return type;
  const dim = tensor.shape.dim.map((each, index) => {
    if (index !== axis) return each;
    if (each.dimValue !== undefined) return { dimValue: each.dimValue * 2n };
    return each.dimParam ? { dimParam: `${each.dimParam}_x2` } : each;
  });
  return { ...type, tensorType: { ...tensor, shape: { ...tensor.shape, dim } } };
}

/**
 * Says that what an operator caches, [B, G, T, width], is longer than its past, where the model does not: once the past is no
 * input of the model, ONNX Runtime would take its shape for the present, and its memory.
 * @param path of the attention, for the name of the length
 */
export function declareLonger(present: Value | undefined, past: Value, path: string): void {
  const elemType = elementType(past);
  if (!present || present.type || elemType === undefined) return;
  const length = { dimParam: present.scope.model.names.mint(`${path}/present_length`) };
  present.scope.setType(present, { tensorType: { elemType, shape: { dim: [{}, {}, length, {}] } } });
}
