import type { Node } from '../ir';

/** com.microsoft has both operators as well: for 16 bits before the standard had them, and for all where asked to. */
const CONTRIB = 'com.microsoft';

/** Numbers to integers by a scale and a zero point: QuantizeLinear of either domain. */
export function isQuantize(node: Node): boolean {
  return node.is('QuantizeLinear') || node.isFrom(CONTRIB, 'QuantizeLinear');
}

/** Integers to the numbers they stand for: DequantizeLinear of either domain. */
export function isDequantize(node: Node): boolean {
  return node.is('DequantizeLinear') || node.isFrom(CONTRIB, 'DequantizeLinear');
}
