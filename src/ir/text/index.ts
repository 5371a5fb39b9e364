/** ONNX's text syntax, for dumps and tests. */
export { type ParseOptions, parseText } from './parser';
export { type PrintOptions, printNode, printText } from './printer';
export type { Fill } from './tensors';
export { TextSyntaxError } from './tokens';
