/** Attributes in ONNX's text syntax: `axis: int = 1`, `perm = [0, 2, 1]`, `value = float[2] {1, 2}`, `alpha: float = @alpha`. */
import { type AttributeProto, AttributeType, EMPTY_ATTRIBUTE, type GraphProto } from '../../onnx';
import { decodeText, encodeText } from '../../onnx/text';
import { parseNumber, printFloat32 } from './numbers';
import { type Fill, parseTensor, printTensor } from './tensors';
import type { Tokens } from './tokens';
import { isPlainName, isType, parseType, printName, printType, quote } from './types';

export interface AttributeContext {
  readonly parseGraph: () => GraphProto;
  readonly fill: Fill | undefined;
}

/** What stands between `=` and the next attribute, before it is known to which kind of attribute it belongs. */
type Value = Pick<AttributeProto, 'f' | 'i' | 's' | 't' | 'g' | 'tp'> & { readonly type: AttributeType };

/** The type of a list, by the type of its elements. */
const LIST_OF: Partial<Record<number, AttributeType>> = {
  [AttributeType.FLOAT]: AttributeType.FLOATS,
  [AttributeType.INT]: AttributeType.INTS,
  [AttributeType.STRING]: AttributeType.STRINGS,
  [AttributeType.TENSOR]: AttributeType.TENSORS,
  [AttributeType.GRAPH]: AttributeType.GRAPHS,
  [AttributeType.SPARSE_TENSOR]: AttributeType.SPARSE_TENSORS,
  [AttributeType.TYPE_PROTO]: AttributeType.TYPE_PROTOS,
};

function typeName(type: number): string {
  const found = Object.entries(AttributeType).find(([, value]) => value === type);
  return (found?.[0] ?? 'undefined').toLowerCase();
}

function isFloat(type: number | undefined): boolean {
  return type === AttributeType.FLOAT || type === AttributeType.FLOATS;
}

function parseTypedValue(tokens: Tokens, context: AttributeContext): Value {
  const type = parseType(tokens);
  if (!tokens.isName() && !['{', '=', '['].some((symbol) => tokens.isSymbol(symbol))) {
    return { type: AttributeType.TYPE_PROTO, tp: type };
  }
  const name = tokens.isName() ? tokens.next().text : undefined;
  tokens.accept('=');
  return { type: AttributeType.TENSOR, t: parseTensor(tokens, type, name, context.fill) };
}

function parseValue(tokens: Tokens, context: AttributeContext, wanted: AttributeType | undefined): Value {
  const token = tokens.peek();
  if (isType(tokens)) {
    return parseTypedValue(tokens, context);
  }
  if (tokens.isName() && (tokens.isSymbol('(', 1) || wanted === AttributeType.GRAPH)) {
    return { type: AttributeType.GRAPH, g: context.parseGraph() };
  }
  if (token.kind === 'string') {
    return { type: AttributeType.STRING, s: encodeText(tokens.next().text) };
  }
  if (token.kind === 'integer' && !isFloat(wanted)) {
    return { type: AttributeType.INT, i: BigInt(tokens.next().text) };
  }
  const number = parseNumber(token.text);
  if (number === undefined) {
    throw tokens.expected('the value of an attribute');
  }
  tokens.next();
  return { type: AttributeType.FLOAT, f: Math.fround(number) };
}

function parseListValue(
  tokens: Tokens,
  context: AttributeContext,
  wanted: AttributeType | undefined,
): Omit<AttributeProto, 'name'> {
  const start = tokens.peek();
  const values: Value[] = [];
  tokens.list('[', ']', 'the values of the list', () => values.push(parseValue(tokens, context, wanted)));
  // [1, 2.5] is a list of floats
  const mixed =
    values.some(({ type }) => isFloat(type)) && values.every(({ f, i }) => (f ?? i) !== undefined);
  const list = mixed
    ? values.map((value) => ({ f: Number(value.i), ...value, type: AttributeType.FLOAT }))
    : values;
  const first = list[0]?.type;
  const type = first === undefined ? wanted : LIST_OF[first];
  if (type === undefined) {
    throw tokens.error('an empty list needs the type of the attribute: <axes: ints = []>', start);
  }
  if (list.some((value) => value.type !== first)) {
    throw tokens.error('the values of a list are of one type', start);
  }
  return {
    type,
    floats: list.flatMap(({ f }) => (type === AttributeType.FLOATS && f !== undefined ? [f] : [])),
    ints: list.flatMap(({ i }) => (type === AttributeType.INTS && i !== undefined ? [i] : [])),
    strings: list.flatMap(({ s }) => (s === undefined ? [] : [s])),
    tensors: list.flatMap(({ t }) => (t === undefined ? [] : [t])),
    graphs: list.flatMap(({ g }) => (g === undefined ? [] : [g])),
    sparseTensors: [],
    typeProtos: list.flatMap(({ tp }) => (tp === undefined ? [] : [tp])),
  };
}

function parseAttributeType(tokens: Tokens): AttributeType | undefined {
  if (!tokens.accept(':')) {
    return undefined;
  }
  const found = Object.entries(AttributeType).find(([name]) => name.toLowerCase() === tokens.peek().text);
  if (found === undefined || found[1] === AttributeType.UNDEFINED) {
    throw tokens.expected('the type of the attribute (int, floats, tensor, graph …)');
  }
  tokens.next();
  return found[1];
}

/** `name: type = value`; the type may be left out where the value shows it. */
export function parseAttribute(tokens: Tokens, context: AttributeContext): AttributeProto {
  const start = tokens.peek();
  const name = tokens.name('the name of an attribute');
  const wanted = parseAttributeType(tokens);
  tokens.expect('=', `after the attribute ${name}`);
  if (tokens.accept('@')) {
    if (wanted === undefined) {
      throw tokens.error(`a reference needs its type: <${name}: float = @…>`, start);
    }
    const refAttrName = tokens.name("the name of the function's attribute");
    return { ...EMPTY_ATTRIBUTE, name, refAttrName, type: wanted };
  }
  const value = tokens.isSymbol('[')
    ? parseListValue(tokens, context, wanted)
    : parseValue(tokens, context, wanted);
  if (wanted !== undefined && value.type !== wanted) {
    throw tokens.error(
      `${name} is declared ${typeName(wanted)}, its value is ${typeName(value.type ?? 0)}`,
      start,
    );
  }
  return { ...EMPTY_ATTRIBUTE, name, ...value };
}

/** A float that cannot be read as an integer. */
function printFloat(value: number): string {
  const text = printFloat32(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

interface PrintContext {
  readonly printGraph: (graph: GraphProto) => string;
  readonly maxElements: number;
}

/** The values of an attribute: one, or those of a list. */
function printValues(attribute: AttributeProto, context: PrintContext): readonly string[] {
  const { s, g, t } = attribute;
  const printString = (bytes: Uint8Array): string => quote(decodeText(Buffer.from(bytes)));
  switch (attribute.type) {
    case AttributeType.FLOAT:
      return [printFloat(attribute.f ?? 0)];
    case AttributeType.INT:
      return [String(attribute.i ?? 0n)];
    case AttributeType.STRING:
      return [printString(s ?? Buffer.alloc(0))];
    case AttributeType.TENSOR:
      return t === undefined ? [] : [printTensor(t, '', context.maxElements)];
    case AttributeType.GRAPH:
      return g === undefined ? [] : [context.printGraph(g)];
    case AttributeType.TYPE_PROTO:
      return [printType(attribute.tp)];
    case AttributeType.FLOATS:
      return attribute.floats.map(printFloat);
    case AttributeType.INTS:
      return attribute.ints.map(String);
    case AttributeType.STRINGS:
      return attribute.strings.map(printString);
    case AttributeType.TENSORS:
      return attribute.tensors.map((tensor) => printTensor(tensor, '', context.maxElements));
    case AttributeType.GRAPHS:
      return attribute.graphs.map(context.printGraph);
    case AttributeType.TYPE_PROTOS:
      return attribute.typeProtos.map(printType);
    default: // sparse tensors: the syntax has none
      return ['...'];
  }
}

/** `name: type = value` */
export function printAttribute(attribute: AttributeProto, context: PrintContext): string {
  const { name = '', type = AttributeType.UNDEFINED, refAttrName } = attribute;
  const head = `${isPlainName(name) ? name : printName(name)}: ${typeName(type)} = `;
  if (refAttrName !== undefined && refAttrName !== '') {
    return `${head}@${printName(refAttrName)}`;
  }
  const values = printValues(attribute, context).join(', ');
  return Object.values(LIST_OF).some((list) => list === type) ? `${head}[${values}]` : head + values;
}
