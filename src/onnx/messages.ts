/**
 * The messages of onnx.proto as diffx holds them.
 *
 * Messages are immutable. To change one, make a new one with `derive` (it keeps unknown fields); a message that was
 * read and not replaced is written back with exactly the bytes it had. Repeated fields are always arrays; an
 * optional field that is absent is `undefined`. int64 is bigint. Bytes of tensors are `ByteRange`s: not in memory
 * until they are asked for.
 */
import type { ByteRange } from './bytes';

export interface StringStringEntry {
  readonly key?: string;
  readonly value?: string;
}

export interface OperatorSetId {
  readonly domain?: string;
  readonly version?: bigint;
}

export interface TensorProto {
  readonly dims: readonly bigint[];
  /** A `DataType`. */
  readonly dataType?: number;
  readonly floatData: readonly number[];
  readonly int32Data: readonly number[];
  readonly stringData: readonly Uint8Array[];
  readonly int64Data: readonly bigint[];
  readonly name?: string;
  readonly docString?: string;
  /** Little-endian bytes, where the tensor stores them inline. */
  readonly rawData?: ByteRange;
  readonly externalData: readonly StringStringEntry[];
  /** 0 inline, 1 external. */
  readonly dataLocation?: number;
  readonly doubleData: readonly number[];
  readonly uint64Data: readonly bigint[];
  readonly metadataProps: readonly StringStringEntry[];
}

export interface SparseTensorProto {
  readonly values?: TensorProto;
  readonly indices?: TensorProto;
  readonly dims: readonly bigint[];
}

export interface DimensionProto {
  readonly dimValue?: bigint;
  readonly dimParam?: string;
  readonly denotation?: string;
}

export interface TensorShapeProto {
  readonly dim: readonly DimensionProto[];
}

export interface TensorTypeProto {
  readonly elemType?: number;
  readonly shape?: TensorShapeProto;
}

export interface TypeProto {
  readonly tensorType?: TensorTypeProto;
  readonly sequenceType?: object;
  readonly mapType?: object;
  readonly optionalType?: object;
  readonly sparseTensorType?: object;
  readonly opaqueType?: object;
  readonly denotation?: string;
}

export interface ValueInfoProto {
  readonly name?: string;
  readonly type?: TypeProto;
  readonly docString?: string;
  readonly metadataProps: readonly StringStringEntry[];
}

export interface AttributeProto {
  readonly name?: string;
  readonly refAttrName?: string;
  readonly docString?: string;
  /** An `AttributeType`. */
  readonly type?: number;
  readonly f?: number;
  readonly i?: bigint;
  readonly s?: Uint8Array;
  readonly t?: TensorProto;
  readonly g?: GraphProto;
  readonly sparseTensor?: SparseTensorProto;
  readonly tp?: TypeProto;
  readonly floats: readonly number[];
  readonly ints: readonly bigint[];
  readonly strings: readonly Uint8Array[];
  readonly tensors: readonly TensorProto[];
  readonly graphs: readonly GraphProto[];
  readonly sparseTensors: readonly SparseTensorProto[];
  readonly typeProtos: readonly TypeProto[];
}

export interface NodeProto {
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly name?: string;
  readonly opType?: string;
  readonly domain?: string;
  readonly overload?: string;
  readonly attribute: readonly AttributeProto[];
  readonly docString?: string;
  readonly metadataProps: readonly StringStringEntry[];
}

export interface GraphProto {
  readonly node: readonly NodeProto[];
  readonly name?: string;
  readonly initializer: readonly TensorProto[];
  readonly sparseInitializer: readonly SparseTensorProto[];
  readonly docString?: string;
  readonly input: readonly ValueInfoProto[];
  readonly output: readonly ValueInfoProto[];
  readonly valueInfo: readonly ValueInfoProto[];
  readonly quantizationAnnotation: readonly object[];
  readonly metadataProps: readonly StringStringEntry[];
}

export interface FunctionProto {
  readonly name?: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attribute: readonly string[];
  readonly attributeProto: readonly AttributeProto[];
  readonly node: readonly NodeProto[];
  readonly docString?: string;
  readonly opsetImport: readonly OperatorSetId[];
  readonly domain?: string;
  readonly overload?: string;
  readonly valueInfo: readonly ValueInfoProto[];
  readonly metadataProps: readonly StringStringEntry[];
}

export interface ModelProto {
  readonly irVersion?: bigint;
  readonly opsetImport: readonly OperatorSetId[];
  readonly producerName?: string;
  readonly producerVersion?: string;
  readonly domain?: string;
  readonly modelVersion?: bigint;
  readonly docString?: string;
  readonly graph?: GraphProto;
  readonly metadataProps: readonly StringStringEntry[];
  readonly trainingInfo: readonly object[];
  readonly functions: readonly FunctionProto[];
  readonly configuration: readonly object[];
}

/** The messages by the name that onnx.proto gives them. */
export interface Messages {
  StringStringEntryProto: StringStringEntry;
  OperatorSetIdProto: OperatorSetId;
  TensorProto: TensorProto;
  SparseTensorProto: SparseTensorProto;
  ValueInfoProto: ValueInfoProto;
  TypeProto: TypeProto;
  AttributeProto: AttributeProto;
  NodeProto: NodeProto;
  GraphProto: GraphProto;
  FunctionProto: FunctionProto;
  ModelProto: ModelProto;
}
export type MessageName = keyof Messages;
