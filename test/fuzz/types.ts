/** Element types of the values of a graph, as far as a look at each operator tells; mutations need no more. */
import { DataType, type GraphProto, type NodeProto } from '../../src/onnx';

const INTEGERS = ['Shape', 'Size', 'ArgMax', 'ArgMin', 'NonZero'];
const BOOLEANS = [
  'Equal',
  'Less',
  'LessOrEqual',
  'Greater',
  'GreaterOrEqual',
  'And',
  'Or',
  'Not',
  'IsNaN',
  'IsInf',
];
/** The input that an operator's result has the type of, where that is not the first. */
const TYPED_BY: Readonly<Record<string, number>> = {
  Where: 1,
  CastLike: 1,
  DequantizeLinear: 1,
  DynamicQuantizeMatMul: 0,
};

export function typesOf(graph: GraphProto): Map<string, number> {
  const types = new Map<string, number>();
  for (const { name = '', dataType = 0 } of graph.initializer) types.set(name, dataType);
  for (const { name = '', type } of [...graph.input, ...graph.valueInfo, ...graph.output])
    if (type?.tensorType?.elemType) types.set(name, type.tensorType.elemType);
  for (const node of graph.node) {
    const type = typeOf(node, types);
    for (const name of node.output) if (type !== undefined && !types.has(name)) types.set(name, type);
  }
  return types;
}

function typeOf(node: NodeProto, types: ReadonlyMap<string, number>): number | undefined {
  const { opType = '', input, attribute } = node;
  const attributeOf = (name: string) => attribute.find((each) => each.name === name);
  if (opType === 'Cast') return Number(attributeOf('to')?.i ?? 0);
  if (opType === 'Constant' || opType === 'ConstantOfShape')
    return attributeOf('value')?.t?.dataType ?? DataType.FLOAT;
  if (INTEGERS.includes(opType)) return DataType.INT64;
  if (BOOLEANS.includes(opType)) return DataType.BOOL;
  return types.get(input[TYPED_BY[opType] ?? 0] ?? '');
}
