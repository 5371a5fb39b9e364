/** Tensors in ONNX's text syntax: `float[2] w = {1, 2.5}`, or `float[2] w = ["location": "w.bin"]` for a side file. */
import {
  DataType,
  EMPTY_TENSOR,
  memoryBytes,
  type StringStringEntry,
  type TensorProto,
  type TypeProto,
} from '../../onnx';
import { decodeText, encodeText } from '../../onnx/text';
import {
  type Format,
  formatOf,
  literalCount,
  loadLiteral,
  parseNumber,
  printFloat32,
  printFloat64,
  storeInteger,
  storeValue,
} from './numbers';
import type { Token, Tokens } from './tokens';
import { printName, printTensorType, quote } from './types';

/** Gives the elements of a tensor that the text elides as `{...}`: that many numbers, each rounded to the type. */
export type Fill = (name: string, count: number) => ArrayLike<number>;

/** `["key": "value", ...]` */
export function parseEntries(tokens: Tokens, what: string): StringStringEntry[] {
  const entries: StringStringEntry[] = [];
  tokens.list('[', ']', what, () => {
    const key = tokens.string(`a key of ${what}`);
    tokens.expect(':', `after "${key}"`);
    entries.push({ key, value: tokens.string(`the value of "${key}"`) });
  });
  return entries;
}

function store(view: DataView, index: number, type: number, format: Format, token: Token): boolean {
  const at = (index * format.bits) / 8;
  // BigInt has no -0, a float has
  if (token.kind === 'integer' && !(format.kind === 'float' && token.text.startsWith('-0'))) {
    return storeInteger(view, at, format, BigInt(token.text));
  }
  if (type === DataType.BOOL && (token.text === 'true' || token.text === 'false')) {
    return storeInteger(view, at, format, token.text === 'true' ? 1n : 0n);
  }
  const value = token.kind === 'string' ? undefined : parseNumber(token.text);
  return value !== undefined && format.kind !== 'signed' && format.kind !== 'unsigned'
    ? storeValue(view, at, type, value)
    : false;
}

function parseLiterals(tokens: Tokens): Token[] {
  const literals: Token[] = [];
  tokens.list('{', '}', 'the elements', () => literals.push(tokens.next()));
  return literals;
}

/** The elements in braces: as many as the type says, else an error. */
function parseElements(tokens: Tokens, type: number, count: number, typeText: string): Partial<TensorProto> {
  const open = tokens.peek();
  const literals = parseLiterals(tokens);
  const wanted = literalCount(type, count);
  if (literals.length !== wanted) {
    throw tokens.error(`${typeText} takes ${wanted} elements, ${literals.length} are given`, open);
  }
  if (type === DataType.STRING) {
    const wrong = literals.find((token) => token.kind !== 'string');
    if (wrong !== undefined) {
      throw tokens.error(`expected a text in double quotes, found '${wrong.text}'`, wrong);
    }
    return { stringData: literals.map((token) => encodeText(token.text)) };
  }
  const format = formatOf(type);
  const bytes = new Uint8Array((wanted * format.bits) / 8);
  const view = new DataView(bytes.buffer);
  for (const [index, token] of literals.entries()) {
    if (!store(view, index, type, format, token)) {
      throw tokens.error(`'${token.text}' is not an element of ${typeText}`, token);
    }
  }
  return { rawData: memoryBytes(bytes) };
}

function fillElements(type: number, count: number, values: ArrayLike<number>): Partial<TensorProto> {
  const width = formatOf(type).bits / 8;
  const bytes = new Uint8Array(count * width);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < count; index++) {
    const value = values[index];
    if (value === undefined || !storeValue(view, index * width, type, value)) {
      throw new RangeError(`element ${index} of an elided tensor cannot be ${value}`);
    }
  }
  return { rawData: memoryBytes(bytes) };
}

/** The payload after a type and a name. The cursor stands at `{` or `[`. */
export function parseTensor(
  tokens: Tokens,
  type: TypeProto,
  name: string | undefined,
  fill: Fill | undefined,
): TensorProto {
  const dims = type.tensorType?.shape?.dim.map((dim) => dim.dimValue);
  const dataType = type.tensorType?.elemType ?? 0;
  if (dims === undefined || !dims.every((dim) => dim !== undefined)) {
    throw tokens.error('a tensor needs a type whose dimensions are numbers');
  }
  const head = { ...EMPTY_TENSOR, dims, dataType, ...(name === undefined ? {} : { name }) };
  if (tokens.isSymbol('[')) {
    return { ...head, dataLocation: 1, externalData: parseEntries(tokens, 'the place of the tensor') };
  }
  const count = Number(dims.reduce((product, dim) => product * dim, 1n));
  if (tokens.isSymbol('{') && tokens.isSymbol('...', 1)) {
    if (fill === undefined) {
      throw tokens.error('the elements were left out when this text was printed; parseText can fill them in');
    }
    tokens.next();
    tokens.next();
    tokens.expect('}', "after '...'");
    const wanted = literalCount(dataType, count);
    return { ...head, ...fillElements(dataType, wanted, fill(name ?? '', wanted)) };
  }
  return { ...head, ...parseElements(tokens, dataType, count, printTensorType(dataType, dims)) };
}

function rawLiterals(tensor: TensorProto, bytes: Uint8Array): string[] {
  const format = formatOf(tensor.dataType ?? 0);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const width = format.bits / 8;
  return Array.from({ length: Math.floor(bytes.length / width) }, (_, i) =>
    loadLiteral(view, i * width, format),
  );
}

/** Every element as the text has it. Reads the tensor's bytes. */
function literals(tensor: TensorProto): string[] {
  if (tensor.rawData !== undefined) {
    return rawLiterals(tensor, tensor.rawData.read());
  }
  return [
    ...tensor.stringData.map((bytes) => quote(decodeText(Buffer.from(bytes)))),
    ...tensor.floatData.map(printFloat32),
    ...tensor.doubleData.map(printFloat64),
    ...tensor.int32Data.map(String),
    ...tensor.int64Data.map(String),
    ...tensor.uint64Data.map(String),
  ];
}

/** The same as text. */
export function printEntries(entries: readonly StringStringEntry[]): string {
  return `[${entries.map(({ key = '', value = '' }) => `${quote(key)}: ${quote(value)}`).join(', ')}]`;
}

/**
 * @param equals what stands between the type and name and the elements: ` =` of an initializer
 * @param maxElements of a larger tensor only the type is printed, and `{...}`; its bytes are not read
 */
export function printTensor(tensor: TensorProto, equals: string, maxElements: number): string {
  const type = printTensorType(tensor.dataType ?? 0, tensor.dims);
  const name = tensor.name === undefined || tensor.name === '' ? '' : ` ${printName(tensor.name)}`;
  const count = tensor.dims.reduce((product, dim) => product * Number(dim), 1);
  let payload = '{...}';
  if (tensor.dataLocation === 1) {
    payload = printEntries(tensor.externalData);
  } else if (count <= maxElements) {
    payload = `{${literals(tensor).join(', ')}}`;
  }
  return `${type}${name}${equals} ${payload}`;
}
