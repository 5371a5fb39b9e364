import { elementType } from '../analyse';
import type { Node, Value } from '../ir';
import { fail } from '../match/outcome';
import { projectionType } from '../match/projection';
import { dataTypeName, isFloatType } from '../onnx';
import type { Side } from './site';

/** The element types that an attention computes in, see `AttentionSite`. */
export interface SiteTypes {
  readonly dataType: number;
  readonly inputType: number;
}

/**
 * Reads the element types off the graph: Casts may stand anywhere between the projections and the result. Where the graph
 * does not say them, the type of the weights stands for all.
 * @param attended what the map and the values give
 */
export function siteTypes(anchor: Node, { projection }: Side, attended: Value): SiteTypes {
  const own = projectionType(projection);
  const dataType = [elementType(attended), own].find(isFloatType);
  if (dataType === undefined) {
    fail('operator-form', anchor, 'values of a floating-point type', `${dataTypeName(own)} values`);
  }
  return { dataType, inputType: [elementType(projection.input), own].find(isFloatType) ?? dataType };
}
