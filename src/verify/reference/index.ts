/** The float64 reference for differential attention: see `differential.ts`. */
export { type Array64, array64, broadcastTo, permute } from './array';
export { added, rmsNorm, scores, softmax, weigh } from './attention';
export {
  type AttendedOutputs,
  type DifferentialParameters,
  type DuplicateHeads,
  differentialAttention,
  differentialMap,
  differentialOutputs,
  type SplitHeads,
  splitDifferentialAttention,
} from './differential';
export {
  beside,
  copiesInPairs,
  crossProducts,
  type Pairing,
  pairMaps,
  pairValues,
  repeatHeads,
  storedHeads,
  unpair,
} from './heads';
export { type LambdaParameters, lambdaInit, lambdaOf, sigmoidOf } from './lambda';
export type { Rounding } from './rounding';
