import type { AttributeProto, TensorProto } from './messages';

/** The repeated fields of messages that are made from scratch: spread these, then set what there is. */

export const EMPTY_ATTRIBUTE: Pick<
  AttributeProto,
  'floats' | 'ints' | 'strings' | 'tensors' | 'graphs' | 'sparseTensors' | 'typeProtos'
> = { floats: [], ints: [], strings: [], tensors: [], graphs: [], sparseTensors: [], typeProtos: [] };

export const EMPTY_TENSOR: TensorProto = {
  dims: [],
  floatData: [],
  int32Data: [],
  stringData: [],
  int64Data: [],
  externalData: [],
  doubleData: [],
  uint64Data: [],
  metadataProps: [],
};
