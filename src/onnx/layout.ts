/** Where payloads go when a model is written: into the model file, or into one side file. */

import { errors } from '../errors';
import { type ByteRange, computedBytes, concatBytes } from './bytes';
import { DataType } from './data-types';
import { encode } from './encode';
import { isExternal, moveInside, moveOutside, payloadKey } from './external-data';
import type { ModelProto, TensorProto } from './messages';
import { inlineBytes } from './tensor-bytes';
import { traceOf } from './trace';
import { mapTensors, type TensorPlace, tensorsOf } from './walk';

/** Finds the bytes of a tensor: `tensorBytes` of the model file that the tensor comes from. */
export type TensorBytes = (tensor: TensorProto) => ByteRange;

/** A model ready to be written. */
export interface Layout {
  /** Bytes of the model file. */
  readonly model: ByteRange;
  /** Bytes of its side file, if it has one. */
  readonly side?: ByteRange;
}

/** protobuf's limit for one message. */
export const LARGEST_MODEL = 2 ** 31 - 1;
/** Payloads from this size on go to the side file. */
const OUTSIDE_FROM = 1024;
/** Large payloads start at a page, so that they can be mapped into memory. */
const LARGE = 1 << 20;
const PAGE = 4096;
const LINE = 64;

/**
 * Everything in one file.
 * @param path the target, for the error message
 * @throws modelTooLarge
 */
export function inOneFile(model: ModelProto, tensorBytes: TensorBytes, path: string): Layout {
  const inline = mapTensors('ModelProto', model, (tensor) =>
    isExternal(tensor) ? moveInside(tensor, tensorBytes(tensor)) : tensor,
  );
  const bytes = encode('ModelProto', inline);
  if (bytes.length > LARGEST_MODEL) throw errors.modelTooLarge(path, bytes.length);
  return { model: bytes };
}

/**
 * As the source had it: in one file, or with a side file if it had one or one file would be too large.
 * @param location name of the side file
 */
export function asTheSource(
  model: ModelProto,
  tensorBytes: TensorBytes,
  location: string,
  path: string,
): Layout {
  if (Array.from(tensorsOf('ModelProto', model)).some(isExternal)) {
    const mixed = withSideFile(model, tensorBytes, location, isNew);
    if (mixed.model.length <= LARGEST_MODEL) return mixed;
  } else {
    const bytes = encode('ModelProto', model);
    if (bytes.length <= LARGEST_MODEL) return { model: bytes };
  }
  return inTwoFiles(model, tensorBytes, location, path);
}

/** All payloads of initializers in one side file, except short ones. */
export function inTwoFiles(
  model: ModelProto,
  tensorBytes: TensorBytes,
  location: string,
  path: string,
): Layout {
  const layout = withSideFile(model, tensorBytes, location, () => true);
  if (layout.model.length > LARGEST_MODEL) throw errors.modelTooLarge(path, layout.model.length);
  return layout;
}

function isNew(tensor: TensorProto): boolean {
  return traceOf(tensor)?.original === undefined;
}

/** Moves what is external already, and those initializers that `choose` names and that are not short. */
function withSideFile(
  model: ModelProto,
  tensorBytes: TensorBytes,
  location: string,
  choose: (tensor: TensorProto) => boolean,
): Layout {
  const side = new SideFile(location);
  const move = (tensor: TensorProto, place: TensorPlace): TensorProto => {
    if (isExternal(tensor)) return side.take(tensor, tensorBytes(tensor), payloadKey(tensor));
    if (place === 'other' || tensor.dataType === DataType.STRING || !choose(tensor)) return tensor;
    const bytes = inlineBytes(tensor);
    return bytes.length < OUTSIDE_FROM ? tensor : side.take(tensor, bytes);
  };
  const bytes = encode('ModelProto', mapTensors('ModelProto', model, move));
  return side.length === 0 ? { model: bytes } : { model: bytes, side: side.bytes() };
}

/** A side file under construction. */
class SideFile {
  length = 0;
  private readonly pieces: ByteRange[] = [];
  private readonly offsets = new Map<string, number>();
  constructor(private readonly location: string) {}

  /** Gives a payload its place; payloads of the same key share one. */
  take(tensor: TensorProto, bytes: ByteRange, key?: string): TensorProto {
    // Nothing to map into memory: such a tensor is better off in the model.
    if (bytes.length === 0) return moveInside(tensor, bytes);
    const known = key === undefined ? undefined : this.offsets.get(key);
    const offset = known ?? this.append(bytes);
    if (key !== undefined) this.offsets.set(key, offset);
    return moveOutside(tensor, this.location, offset, bytes.length);
  }

  bytes(): ByteRange {
    return concatBytes(this.pieces);
  }

  private append(bytes: ByteRange): number {
    const unit = bytes.length > LARGE ? PAGE : LINE;
    const offset = Math.ceil(this.length / unit) * unit;
    const gap = offset - this.length;
    if (gap > 0) this.pieces.push(computedBytes(gap, () => [new Uint8Array(gap)]));
    this.pieces.push(bytes);
    this.length = offset + bytes.length;
    return offset;
  }
}
