/** Small changes of the copies that verification runs. */
import type { Graph, Node, Value } from '../ir';
import {
  type AttributeProto,
  AttributeType,
  EMPTY_ATTRIBUTE,
  EMPTY_TENSOR,
  memoryBytes,
  type TensorProto,
} from '../onnx';
import { bytesOf } from './stored';
import type { Tensor } from './tensor';

/** Adds a node with one output in front of another node, or at the end. */
export function addNode(
  graph: Graph,
  before: Node | undefined,
  opType: string,
  inputs: readonly Value[],
  wish: string,
  attribute: readonly AttributeProto[] = [],
): Value {
  const output = graph.model.names.mint(wish);
  const proto = { input: [], output: [output], name: output, opType, attribute, metadataProps: [] };
  const value = graph.insertBefore(before, [{ proto, inputs }])[0]?.outputs[0];
  if (!value) throw new Error(`${opType} has no output`);
  return value;
}

/** The node that stands behind the producer of a value: the first at which the value can be read. */
export function firstReaderPlace({ scope, producer }: Value): Node | undefined {
  return scope.nodes[producer ? scope.nodes.indexOf(producer) + 1 : 0];
}

/** Adds an input to the main graph. */
export function addInput(graph: Graph, name: string, elemType: number, shape: readonly number[]): Value {
  const dim = shape.map((size) => ({ dimValue: BigInt(size) }));
  const value = graph.define(name, { tensorType: { elemType, shape: { dim } } });
  value.isInput = true;
  graph.inputs.push(value);
  return value;
}

/** Everybody who read a value reads its product with another one, which bears its name. */
export function multiply(value: Value, factor: Value): void {
  const { scope, name } = value;
  const { names } = scope.model;
  const uses = [...value.uses];
  const product = addNode(scope, firstReaderPlace(value), 'Mul', [value, factor], `${name}/scaled`);
  for (const { node, index } of uses) node.graph.setInput(node, index, product);
  scope.rename(value, names.mint(`${name}/unscaled`));
  scope.rename(product, name);
  scope.outputs.forEach((each, index) => {
    if (each === value) scope.setOutput(index, product);
  });
}

/** An attribute that is a number. */
export function intAttribute(name: string, value: number): AttributeProto {
  return { ...EMPTY_ATTRIBUTE, name, type: AttributeType.INT, i: BigInt(value) };
}

/** An attribute that is a tensor. */
export function tensorAttribute(name: string, tensor: Tensor): AttributeProto {
  return { ...EMPTY_ATTRIBUTE, name, type: AttributeType.TENSOR, t: tensorProto(tensor) };
}

function tensorProto(tensor: Tensor): TensorProto {
  return {
    ...EMPTY_TENSOR,
    dims: tensor.shape.map(BigInt),
    dataType: tensor.dtype,
    rawData: memoryBytes(bytesOf(tensor)),
  };
}
