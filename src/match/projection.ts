import { constantTensor, type Dataflow, type Shapes, smallConstant, tensorShape } from '../analyse';
import type { Node, Value } from '../ir';
import type { TensorProto } from '../onnx';
import { type QuantizedProduct, type QuantizedWeights, quantizedProduct } from './quantized-projection';

/** A linear layer with constant weights: the product, and the bias behind it where there is one. */
export interface Projection {
  /** MatMul or Gemm. */
  readonly node: Node;
  /** What is projected. */
  readonly input: Value;
  /** The operand that holds the weight, as the node reads it. */
  readonly weight: Value;
  /** The stored weight. */
  readonly tensor: TensorProto;
  /** True where the stored weight is [out, in] (as PyTorch stores it), false for [in, out]. */
  readonly outFirst: boolean;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** Set where the weight is stored quantized; `weight` and `tensor` are then its numbers. */
  readonly quantized: QuantizedWeights | undefined;
  readonly bias: ProjectionBias | undefined;
  /** The projected value, bias included. */
  readonly output: Value;
}

export interface ProjectionBias {
  /** The Add, or the Gemm itself. */
  readonly node: Node;
  readonly value: Value;
  readonly tensor: TensorProto;
  /** Where the bias of the first column stands in the stored tensor. */
  readonly offset: number;
}

/** A weight behind the operators that exporters leave in front of it. */
interface StoredWeight {
  readonly tensor: TensorProto;
  readonly transposed: boolean;
}

function storedWeight(operand: Value): StoredWeight | undefined {
  const tensor = constantTensor(operand);
  if (tensor) return { tensor, transposed: false };
  const node = operand.producer;
  const source = node?.inputs[0];
  if (!source || !node?.is('Transpose')) return undefined;
  const inner = storedWeight(source);
  return inner && { ...inner, transposed: !inner.transposed };
}

/**
 * True for a product with a rank-2 constant, both dimensions above 1, whose other operand depends on data: what every
 * linear layer is, and the products of rotary tables are not.
 */
export function isProjection(node: Node, dataflow: Dataflow, shapes: Shapes): boolean {
  if (quantizedProduct(node, dataflow, shapes)) return true;
  const weight = node.inputs[1];
  if (!node.is('MatMul', 'Gemm') || !weight || dataflow.dependsOnData(weight)) return false;
  const shape = shapes.shape(weight);
  return (
    shape?.length === 2 &&
    shape.every((dim) => dim.value !== 1) &&
    dataflow.dependsOnData(node.inputs[0]) &&
    storedWeight(weight) !== undefined
  );
}

/** Describes a projection. The node must satisfy `isProjection`. */
export function describeProjection(node: Node, dataflow: Dataflow, shapes: Shapes): Projection | undefined {
  const quantized = quantizedProduct(node, dataflow, shapes);
  if (quantized) return describeQuantized(quantized, shapes);
  const [input, weight] = node.inputs;
  const output = node.outputs[0];
  const stored = weight && storedWeight(weight);
  if (!input || !weight || !output || !stored) return undefined;
  if (node.int('transA') === 1 || (node.float('alpha') ?? 1) !== 1 || (node.float('beta') ?? 1) !== 1)
    return undefined;
  const outFirst = stored.transposed !== (node.int('transB') === 1);
  const [first, second] = tensorShape(stored.tensor);
  if (first === undefined || second === undefined) return undefined;
  const [inFeatures, outFeatures] = outFirst ? [second, first] : [first, second];
  const base = {
    node,
    input,
    weight,
    tensor: stored.tensor,
    outFirst,
    inFeatures,
    outFeatures,
    quantized: undefined,
  };
  const bias = node.is('Gemm') ? gemmBias(node, outFeatures) : addedBias(output, outFeatures, shapes);
  const behind = bias && bias.node !== node ? bias.node.outputs[0] : output;
  return { ...base, bias, output: behind ?? output };
}

function describeQuantized(product: QuantizedProduct, shapes: Shapes): Projection | undefined {
  const weight = product.quantized.parts.find(({ role }) => role === 'weight');
  if (!weight) return undefined;
  const bias = addedBias(product.output, product.outFeatures, shapes);
  return {
    ...product,
    weight: weight.value,
    tensor: weight.tensor,
    outFirst: weight.layout === 'rows',
    bias,
    output: bias?.node.outputs[0] ?? product.output,
  };
}

/** The element type a projection computes in: that of its weight, or of the scale of a quantized one. */
export function projectionType({ tensor, quantized }: Projection): number {
  const scale = quantized?.parts.find(({ role }) => role === 'scale')?.tensor;
  return (scale ?? tensor).dataType ?? 0;
}

function gemmBias(node: Node, columns: number): ProjectionBias | undefined {
  const value = node.inputs[2];
  const tensor = value && constantTensor(value);
  return value && tensor && tensorShape(tensor).at(-1) === columns
    ? { node, value, tensor, offset: 0 }
    : undefined;
}

/** The Add behind a MatMul with a constant vector as long as there are columns. */
function addedBias(output: Value, columns: number, shapes: Shapes): ProjectionBias | undefined {
  const [add] = output.readers;
  if (output.uses.size !== 1 || !add?.is('Add') || add.graph !== output.producer?.graph) return undefined;
  const value = add.inputs[0] === output ? add.inputs[1] : add.inputs[0];
  const tensor = value && constantTensor(value);
  if (!value || !tensor) return undefined;
  const shape = tensorShape(tensor);
  const vector = shape.at(-1) === columns && shape.slice(0, -1).every((dim) => dim === 1);
  const sameRank = shapes.shape(add.outputs[0])?.length === shapes.shape(output)?.length;
  return vector && sameRank ? { node: add, value, tensor, offset: 0 } : undefined;
}

/** True for a scalar constant, however it is stored. */
export function isScalarConstant(value: Value | undefined, shapes: Shapes): boolean {
  return smallConstant(shapes.model, value)?.values.length === 1;
}
