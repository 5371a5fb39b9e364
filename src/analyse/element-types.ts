import { canonicalDomain, type LocalFunction, type Model, type Node, type Value } from '../ir';
import { DataType } from '../onnx';

/**
 * Element types, by the type rules of the operators: those of ONNX's operator documentation (Operators.md) and of ONNX
 * Runtime's (ContribOperators.md). A type comes either from an operator or from one of its inputs, so that finding it is a
 * walk back, and no recursion.
 */

/** Where the type of an output comes from: it is a type, or that of another value; undefined where nobody knows. */
type Source = number | Value | undefined;

/** What always gives the same type. */
const FIXED: ReadonlyMap<string, number> = new Map([
  ...[
    'And',
    'Equal',
    'Greater',
    'GreaterOrEqual',
    'IsInf',
    'IsNaN',
    'Less',
    'LessOrEqual',
    'Not',
    'Or',
    'Xor',
  ].map((op): [string, number] => [op, DataType.BOOL]),
  ...['ArgMax', 'ArgMin', 'NonZero', 'Shape', 'Size', 'StringSplit'].map((op): [string, number] => [
    op,
    DataType.INT64,
  ]),
  ...['ConvInteger', 'MatMulInteger'].map((op): [string, number] => [op, DataType.INT32]),
]);

/** The attribute that names the type, and the type where it does not stand there. */
const NAMED: ReadonlyMap<string, readonly [attribute: string, otherwise: number | undefined]> = new Map([
  ['Bernoulli', ['dtype', undefined]],
  ['BlackmanWindow', ['output_datatype', DataType.FLOAT]],
  ['Cast', ['to', undefined]],
  ['EyeLike', ['dtype', undefined]],
  ['HammingWindow', ['output_datatype', DataType.FLOAT]],
  ['HannWindow', ['output_datatype', DataType.FLOAT]],
  ['MelWeightMatrix', ['output_datatype', DataType.FLOAT]],
  ['Multinomial', ['dtype', DataType.INT32]],
  ['RandomNormal', ['dtype', DataType.FLOAT]],
  ['RandomNormalLike', ['dtype', undefined]],
  ['RandomUniform', ['dtype', DataType.FLOAT]],
  ['RandomUniformLike', ['dtype', undefined]],
]);

/** The input that the type of the first output is that of, where it is not the first. */
const OTHER_INPUT: ReadonlyMap<string, number> = new Map([
  ['CastLike', 1],
  ['EmbedLayerNormalization', 2],
  ['GatherBlockQuantized', 2],
  ['MatMulIntegerToFloat', 2],
  ['OneHot', 2],
  ['QLinearConv', 7],
  ['QLinearMatMul', 7],
  ['Where', 1],
]);

/** Operators whose data inputs are all of the type that they give. */
const OF_ONE_TYPE = new Set([
  'Add',
  'Concat',
  'Conv',
  'Div',
  'Einsum',
  'FusedMatMul',
  'Gemm',
  'LayerNormalization',
  'MatMul',
  'Max',
  'Mean',
  'Min',
  'Mul',
  'Sub',
  'Sum',
]);

/** The types of outputs behind the first, where they are not that of the first. */
const FURTHER: ReadonlyMap<string, readonly (number | undefined)[]> = new Map([
  ['Dropout', [undefined, DataType.BOOL]],
  ['DynamicQuantizeLinear', [DataType.UINT8, DataType.FLOAT, DataType.UINT8]],
  ['EmbedLayerNormalization', [undefined, DataType.INT32]],
  ['LayerNormalization', [undefined, DataType.FLOAT, DataType.FLOAT]],
  ['MaxPool', [undefined, DataType.INT64]],
  ['TopK', [undefined, DataType.INT64]],
  ['Unique', [undefined, DataType.INT64, DataType.INT64, DataType.INT64]],
]);

/** Operators whose further outputs are of the types of inputs: present keys and values of those of keys and values. */
const FURTHER_OF_INPUTS: ReadonlyMap<string, readonly number[]> = new Map([
  ['Attention', [0, 1, 2, 0]],
  ['DynamicQuantizeMatMul', [0]],
]);

/**
 * The element type of a value, a `DataType`.
 * @returns undefined where neither the operators nor the model say it
 */
export function elementType(value: Value | undefined): number | undefined {
  const calls: Node[] = [];
  let at = value;
  for (let step = 0; at && step < MOST_STEPS; step++) {
    const source = storedType(at) ?? sourceOf(at, calls);
    if (typeof source === 'number') return source;
    if (!source) return declaredType(at);
    at = source;
  }
  return undefined;
}

/** Functions that call functions twice double the way with every level: a longer one belongs to no model that was meant. */
const MOST_STEPS = 1 << 18;

function declaredType({ type }: Value): number | undefined {
  return type?.tensorType?.elemType || undefined;
}

function storedType(value: Value): number | undefined {
  return value.producer ? undefined : value.initializer?.dataType || declaredType(value);
}

/** @param calls the calls of local functions around, innermost last; changed where the walk enters or leaves one */
function sourceOf(value: Value, calls: Node[]): Source {
  const { producer, scope } = value;
  if (!producer) return value.isInput ? givenAs(value, calls) : undefined;
  const fn = functionOf(producer, scope.model);
  if (fn) {
    calls.push(producer);
    return fn.body.outputs[value.outputIndex];
  }
  const [body] = producer.bodies.values();
  if (body) return body.outputs[value.outputIndex + (producer.is('Loop') ? 1 : 0)];
  return byRule(producer, value, calls.at(-1));
}

function functionOf({ domain, opType, overload }: Node, { functions }: Model): LocalFunction | undefined {
  return functions.find(
    ({ proto }) =>
      proto.name === opType &&
      canonicalDomain(proto.domain) === domain &&
      (proto.overload ?? '') === overload,
  );
}

/** What the node around gives an input of its body: of a Loop, counter and condition first. */
function givenAs(value: Value, calls: Node[]): Source {
  const { owner } = value.scope;
  const index = value.scope.inputs.indexOf(value);
  if (!owner) return calls.pop()?.inputs[index];
  if (owner.is('Loop') && index < 2) return index === 0 ? DataType.INT64 : DataType.BOOL;
  return owner.inputs[index];
}

/** @param call the call of the function that holds the node, if one does: attributes may refer to those of the call */
function byRule(node: Node, value: Value, call: Node | undefined): Source {
  const { opType, domain, inputs } = node;
  const output = value.outputIndex;
  if (domain !== '' && domain !== 'com.microsoft') return declaredType(value);
  const int = (name: string) => {
    const from = node.attribute(name)?.refAttrName;
    return from ? call?.int(from) : node.int(name);
  };
  const further = FURTHER.get(opType)?.[output];
  if (further !== undefined) return further;
  const fixed = FIXED.get(opType);
  if (fixed !== undefined) return fixed;
  const named = NAMED.get(opType);
  if (named) return int(named[0]) ?? named[1] ?? (node.is('Cast') ? declaredType(value) : inputs[0]);
  if (node.is('Constant')) return constantType(node);
  if (node.is('ConstantOfShape')) return node.tensor('value')?.dataType ?? DataType.FLOAT;
  if (opType === 'DequantizeLinear') return int('output_dtype') || inputs[1];
  if (opType === 'QuantizeLinear') return int('output_dtype') || inputs[2] || DataType.UINT8;
  const index = FURTHER_OF_INPUTS.get(opType)?.[output] ?? OTHER_INPUT.get(opType);
  if (index !== undefined) return inputs[index] ?? inputs[0];
  if (OF_ONE_TYPE.has(opType)) return inputs.find((input) => input?.isInitializer) ?? inputs[0];
  // Most give what they are given; of operators outside the standard set, the model itself may know better.
  return (domain === '' ? undefined : declaredType(value)) ?? inputs[0];
}

/** The types of what the attributes of a Constant hold, but `value`. */
const CONSTANTS: readonly (readonly [attribute: string, type: number])[] = [
  ['value_float', DataType.FLOAT],
  ['value_floats', DataType.FLOAT],
  ['value_int', DataType.INT64],
  ['value_ints', DataType.INT64],
  ['value_string', DataType.STRING],
  ['value_strings', DataType.STRING],
];

function constantType(node: Node): number | undefined {
  const tensor = node.tensor('value');
  return tensor?.dataType ?? CONSTANTS.find(([attribute]) => node.attribute(attribute))?.[1];
}
