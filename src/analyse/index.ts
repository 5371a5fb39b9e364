export { type Candidate, findCandidates } from './candidates';
export {
  constantSource,
  constantTensor,
  elementCount,
  type SmallConstant,
  smallConstant,
  tensorShape,
} from './constants';
export { ancestors, Dataflow, dataInputs, descendants, inOrder, isShapeReader } from './dataflow';
export { broadcast, Dim } from './dim';
export { einsumTerms } from './einsum';
export { elementType } from './element-types';
export { frontAxis } from './facts';
export { type ActivationProduct, activationProduct } from './products';
export { followViews, isLayout, type LostView } from './provenance';
export { isDequantize, isQuantize } from './quantizers';
export { Shapes } from './shapes';
export { type SoftmaxForm, softmaxAxis, softmaxForm } from './softmax';
export { isLinearMix, productsAheadOfMixes, productsBehindMixes } from './talking-heads';
export {
  type Atom,
  axisSize,
  type ColumnAtom,
  columnAtoms,
  columnCount,
  isPure,
  type LeadAtom,
  projectionView,
  regroup,
  type View,
} from './view';
