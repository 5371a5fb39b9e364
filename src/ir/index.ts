export { Graph, type NodeSpec } from './graph';
export {
  callsIn,
  filledAttribute,
  functionKey,
  inlineFunctions,
  keyOfFunction,
  type Origin,
  type Origins,
} from './inline';
export { checkInvariants, invariants, type Violation } from './invariants';
export { load } from './load';
export { type LocalFunction, Model } from './model';
export { canonicalDomain, Node } from './node';
export { dependencies } from './order';
export { pushAll } from './push-all';
export { save } from './save';
export { declaredShape, type Use, Value } from './value';
