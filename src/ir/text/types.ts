/** Types of values in ONNX's text syntax: `float[N, 8]`, `float[]` (unknown rank), `float` (a scalar), `seq(float[2])`. */
import {
  DataType,
  type DimensionProto,
  dataTypeName,
  type TensorShapeProto,
  type TensorTypeProto,
  type TypeProto,
} from '../../onnx';
import type { Tokens } from './tokens';

/** The wrapped type of a sequence or an optional; `TypeProto` leaves these messages open. */
interface WrapperType {
  readonly elemType?: TypeProto;
}

const ELEMENT_TYPES: ReadonlyMap<string, DataType> = new Map(
  Object.entries(DataType)
    .filter(([, type]) => type !== DataType.UNDEFINED)
    .map(([name, type]) => [name.toLowerCase(), type]),
);
const WRAPPERS = ['seq', 'optional', 'sparse_tensor'];

/** Words that begin a type: a value of such a name is written in quotes. */
export function isTypeWord(word: string): boolean {
  return ELEMENT_TYPES.has(word) || WRAPPERS.includes(word) || word === 'map' || word === 'opaque';
}

/** Whether a type comes next, and not a name in front of a value. */
export function isType(tokens: Tokens): boolean {
  const token = tokens.peek();
  return token.kind === 'identifier' && isTypeWord(token.text);
}

function parseDimension(tokens: Tokens): DimensionProto {
  if (tokens.accept('?')) {
    return {};
  }
  if (tokens.isName()) {
    return { dimParam: tokens.next().text };
  }
  return { dimValue: tokens.integer("a dimension (a number, a name or '?')") };
}

function parseTensorType(tokens: Tokens): TensorTypeProto {
  const elemType = ELEMENT_TYPES.get(tokens.peek().text);
  if (elemType === undefined || !isType(tokens)) {
    throw tokens.expected('a type, such as float[N, 8]');
  }
  tokens.next();
  if (!tokens.isSymbol('[')) {
    return { elemType, shape: { dim: [] } };
  }
  const dim: DimensionProto[] = [];
  tokens.list('[', ']', 'the dimensions', () => dim.push(parseDimension(tokens)));
  return dim.length === 0 ? { elemType } : { elemType, shape: { dim } };
}

/** `float[B, 8]`, or one of the wrappers around a type, such as `seq(float[8])`. */
export function parseType(tokens: Tokens): TypeProto {
  const word = tokens.peek().text;
  if (!isType(tokens) || !WRAPPERS.includes(word)) {
    return { tensorType: parseTensorType(tokens) };
  }
  tokens.next();
  tokens.expect('(', `after ${word}`);
  const inner = parseType(tokens);
  tokens.expect(')', `after the type inside ${word}`);
  if (word === 'sparse_tensor') {
    return { sparseTensorType: inner.tensorType ?? {} };
  }
  const wrapper: WrapperType = { elemType: inner };
  return word === 'seq' ? { sequenceType: wrapper } : { optionalType: wrapper };
}

/** Whether a name can stand without quotes anywhere. */
export function isPlainName(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !isTypeWord(name);
}

/** A text in quotes. */
export function quote(text: string): string {
  return `"${text.replace(/[\\"]/g, '\\$&')}"`;
}

/** A name as the syntax wants it: in quotes unless it is an identifier. */
export function printName(name: string): string {
  return isPlainName(name) ? name : quote(name);
}

function printShape(shape: TensorShapeProto | undefined): string {
  if (shape === undefined) {
    return '[]';
  }
  const dimensions = shape.dim.map((dim) => {
    if (dim.dimValue !== undefined) {
      return String(dim.dimValue);
    }
    return dim.dimParam === undefined ? '?' : printName(dim.dimParam);
  });
  return dimensions.length === 0 ? '' : `[${dimensions.join(', ')}]`;
}

/** `float[2, 3]`, the type of a tensor that is there. */
export function printTensorType(type: number, dims: readonly bigint[]): string {
  return dims.length === 0 ? dataTypeName(type) : `${dataTypeName(type)}[${dims.join(', ')}]`;
}

/** Types that the syntax does not have, or that are absent, print as nothing. */
export function printType(type: TypeProto | undefined): string {
  if (type?.tensorType !== undefined) {
    return dataTypeName(type.tensorType.elemType ?? 0) + printShape(type.tensorType.shape);
  }
  if (type?.sparseTensorType !== undefined) {
    const inner: TensorTypeProto = type.sparseTensorType;
    return `sparse_tensor(${dataTypeName(inner.elemType ?? 0)}${printShape(inner.shape)})`;
  }
  if (type?.sequenceType !== undefined) {
    const wrapper: WrapperType = type.sequenceType;
    return `seq(${printType(wrapper.elemType)})`;
  }
  if (type?.optionalType !== undefined) {
    const wrapper: WrapperType = type.optionalType;
    return `optional(${printType(wrapper.elemType)})`;
  }
  return '';
}
