import type { Model } from '../ir';
import {
  type AttributeProto,
  DataType,
  derive,
  type FunctionProto,
  type GraphProto,
  type ModelFile,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type TypeProto,
  type ValueInfoProto,
} from '../onnx';
import { decodeBfloats } from '../onnx/floats';
import { withBytes } from './stored';
import type { Tensor } from './tensor';

/**
 * Models in bfloat16, of which ONNX Runtime has few operators, and none that can be fed: both models of a pair are run
 * with float32 in its place. Every bfloat16 is a float32, so what is compared is what the models hold; how operators
 * round is not.
 */

/** True if a model holds, takes or casts to bfloat16 anywhere. */
export function holdsBfloat16(model: Model): boolean {
  return [...model.scopes()].some(
    ({ values, nodes }) =>
      [...values.values()].some(
        ({ type, initializer }) => isNarrow(type?.tensorType?.elemType) || isNarrow(initializer?.dataType),
      ) ||
      nodes.some(({ proto }) => proto.attribute.some((each) => isNarrow(each.t?.dataType) || names(each))),
  );
}

function isNarrow(dataType: number | undefined): boolean {
  return dataType === DataType.BFLOAT16;
}

/** Attributes that name an element type: of casts and of operators that make tensors or say what they compute in. */
const TYPE_ATTRIBUTES = new Set(['dtype', 'output_dtype', 'softmax_precision', 'stash_type', 'to']);

function names({ name, i }: AttributeProto): boolean {
  return TYPE_ATTRIBUTES.has(name ?? '') && i === BigInt(DataType.BFLOAT16);
}

/** A model with float32 wherever it had bfloat16. */
export function widened(proto: ModelProto, file: ModelFile): ModelProto {
  const wide = new Widener(file);
  return derive(proto, {
    ...(proto.graph ? { graph: wide.graph(proto.graph) } : {}),
    functions: proto.functions.map((fn) => wide.fn(fn)),
  });
}

/** A tensor that a widened model can be fed. */
export function wideTensor(tensor: Tensor): Tensor {
  if (!isNarrow(tensor.dtype)) return tensor;
  return {
    ...tensor,
    dtype: DataType.FLOAT,
    data: new Float32Array(decodeBfloats(tensor.data as Uint16Array)),
  };
}

class Widener {
  constructor(readonly file: ModelFile) {}

  graph(graph: GraphProto): GraphProto {
    return derive(graph, {
      node: graph.node.map((node) => this.node(node)),
      initializer: graph.initializer.map((tensor) => this.tensor(tensor)),
      input: graph.input.map((info) => this.info(info)),
      output: graph.output.map((info) => this.info(info)),
      valueInfo: graph.valueInfo.map((info) => this.info(info)),
    });
  }

  fn(fn: FunctionProto): FunctionProto {
    return derive(fn, {
      node: fn.node.map((node) => this.node(node)),
      attributeProto: fn.attributeProto.map((each) => this.attribute(each)),
      valueInfo: fn.valueInfo.map((info) => this.info(info)),
    });
  }

  node(node: NodeProto): NodeProto {
    return derive(node, { attribute: node.attribute.map((each) => this.attribute(each)) });
  }

  attribute(attribute: AttributeProto): AttributeProto {
    const { t, g, graphs, tensors } = attribute;
    if (names(attribute)) return derive(attribute, { i: BigInt(DataType.FLOAT) });
    return derive(attribute, {
      ...(t ? { t: this.tensor(t) } : {}),
      ...(g ? { g: this.graph(g) } : {}),
      tensors: tensors.map((each) => this.tensor(each)),
      graphs: graphs.map((each) => this.graph(each)),
    });
  }

  tensor(tensor: TensorProto): TensorProto {
    if (!isNarrow(tensor.dataType)) return tensor;
    const bytes = new Uint8Array(this.file.tensorBytes(tensor).read());
    const bits = new Uint16Array(bytes.buffer, 0, bytes.length / Uint16Array.BYTES_PER_ELEMENT);
    const numbers = new Float32Array(decodeBfloats(bits));
    return withBytes(derive(tensor, { dataType: DataType.FLOAT }), new Uint8Array(numbers.buffer));
  }

  info(info: ValueInfoProto): ValueInfoProto {
    const type = this.type(info.type);
    return type === info.type ? info : derive(info, { type });
  }

  type(type: TypeProto | undefined): TypeProto | undefined {
    if (!isNarrow(type?.tensorType?.elemType)) return type;
    return type && { ...type, tensorType: { ...type.tensorType, elemType: DataType.FLOAT } };
  }
}
