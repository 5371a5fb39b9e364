/** Reading and writing ONNX models without loss. Weights are byte ranges of files until someone reads them. */
export { checkTargets, isStream, type Output, writeFiles } from './atomic';
export * from './bytes';
export * from './data-types';
export { decode } from './decode';
export { EMPTY_ATTRIBUTE, EMPTY_TENSOR } from './empty';
export { encode } from './encode';
export { isExternal } from './external-data';
export { decodeFloats, encodeFloats, isFloatType } from './floats';
export { isHalfByte, packHalves, unpackHalves } from './half-bytes';
export type { TensorBytes } from './layout';
export { lazyEntry } from './lazy-entry';
export * from './messages';
export { type ModelFile, parseModel, readModel } from './model-file';
export { openSource, type Source } from './source';
export { derive } from './trace';
export { mapTensors, type TensorPlace, tensorsOf } from './walk';
export { modelBytes, type WriteOptions, writeModel } from './write-model';
