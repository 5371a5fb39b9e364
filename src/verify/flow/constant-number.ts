import { smallConstant } from '../../analyse';
import type { Model, Value } from '../../ir';
import { DataType } from '../../onnx';

/** So many nodes of layout may stand behind one another. */
const STEPS = 32;

/**
 * The number that a value has everywhere, where that is known: of constants with one element or equal ones, of shapes that
 * are filled, and of both behind operators of layout.
 * @param layout operators that move elements
 */
export function constantNumber(
  model: Model,
  value: Value | undefined,
  layout: readonly string[],
): number | undefined {
  let at = value;
  for (let steps = 0; at && steps < STEPS; steps++) {
    const node = at.producer;
    if (node?.is('ConstantOfShape')) {
      const fill = node.tensor('value');
      return fill ? firstNumber(model.bytes(fill), fill.dataType ?? 0) : 0;
    }
    const known = smallConstant(model, at);
    if (known) return known.values.every((each) => each === known.values[0]) ? known.values[0] : undefined;
    if (!node?.is(...layout)) return undefined;
    at = node.inputs[0];
  }
  return undefined;
}

function firstNumber(bytes: Uint8Array, type: number): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (type) {
    case DataType.FLOAT:
      return view.getFloat32(0, true);
    case DataType.INT64:
      return Number(view.getBigInt64(0, true));
    case DataType.INT32:
      return view.getInt32(0, true);
    case DataType.BOOL:
      return view.getUint8(0);
    default:
      return undefined;
  }
}
