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
