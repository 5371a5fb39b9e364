/** Making input tensors: the same inputs and case, the same tensors, on every machine. */
import { DataType, dataTypeName } from '../../onnx/data-types';
import { encodeFloats, isFloatType } from '../../onnx/floats';
import { normal, uniform } from '../../weights/random';
import { elementCount, type Tensor, tensorFromBytes, zeros } from '../tensor';
import type { FeedCase } from './plan';
import type { FeedInput } from './roles';
import { resolveShapes } from './shapes';

/** What is added to the scores of keys that are no tokens: far below any score, and within float16's range. */
const ADDITIVE_MASK = -10_000;

/** One tensor for each input, by name. */
export function makeFeeds(inputs: readonly FeedInput[], feedCase: FeedCase): Record<string, Tensor> {
  const shapes = resolveShapes(inputs, feedCase);
  return Object.fromEntries(
    inputs.map((input) => {
      const shape = shapes.get(input.name) ?? [];
      return [input.name, tensorOf(input.dtype, shape, numbersFor(input, shape, feedCase))];
    }),
  );
}

function numbersFor({ name, role }: FeedInput, shape: readonly number[], feedCase: FeedCase): Float64Array {
  const { past, sequence, seed, mix, on = true, volume = 1 } = feedCase;
  const count = elementCount(shape);
  switch (role.kind) {
    case 'ids':
      // Numbers of (-1, 1) in float32 may round to 1.
      return drawn(uniform(seed, `feed ${name}`, count, 1), count).map(
        (value) =>
          (role.lowest ?? 0) + Math.min(Math.floor(((value + 1) / 2) * role.vocabulary), role.vocabulary - 1),
      );
    case 'past':
    case 'data':
      return drawn(normal(seed, `feed ${name}`, count, volume), count);
    case 'mask':
      return mask(shape, feedCase).map((keep) => {
        if (role.form === 'hide') return 1 - keep;
        if (role.form !== 'additive') return keep;
        return keep === 1 ? 0 : ADDITIVE_MASK;
      });
    case 'positions': {
      const length = shape.at(-1) ?? 1;
      return new Float64Array(count).map((_, i) => (past + (i % length)) % (role.bound ?? Infinity));
    }
    case 'mix':
      return new Float64Array(count).fill(mix ?? 1);
    case 'total-length':
      return new Float64Array(count).fill(past + sequence + role.offset);
    case 'past-length':
      return new Float64Array(count).fill(past);
    case 'key-lengths':
      return keyLengths(count, role.keys ?? past + sequence, feedCase);
    case 'has-past':
      return new Float64Array(count).fill(past > 0 ? 1 : 0);
    case 'switch':
      return new Float64Array(count).fill(on ? 1 : 0);
    case 'constant':
      return new Float64Array(count).fill(role.value);
  }
}

function drawn(chunks: Iterable<Float32Array>, count: number): Float64Array {
  const all = new Float64Array(count);
  let done = 0;
  for (const chunk of chunks) {
    all.set(chunk, done);
    done += chunk.length;
  }
  return all;
}

/**
 * 1 for tokens, 0 for padding: row r of the batch has r padded keys, a batch of one row has 1; never all of them, but
 * in the last row where a row of padding is asked for.
 */
function mask(shape: readonly number[], { padding }: FeedCase): Float64Array {
  const keys = shape.at(-1) ?? 1;
  const batch = shape.length > 1 ? (shape[0] ?? 1) : 1;
  const rowSize = elementCount(shape) / Math.max(batch, 1);
  return new Float64Array(elementCount(shape)).map((_, i) => {
    const row = Math.floor(i / rowSize);
    if (padding === 'row') return row === batch - 1 ? 0 : 1;
    const padded = padding === 'none' ? 0 : Math.min(batch === 1 ? 1 : row, keys - 1);
    const key = i % keys;
    return key < (padding === 'left' ? padded : 0) || key >= keys - (padding === 'right' ? padded : 0)
      ? 0
      : 1;
  });
}

/** How many keys are tokens where as many are padded as in a mask. */
function keyLengths(count: number, keys: number, { padding }: FeedCase): Float64Array {
  return new Float64Array(count).map((_, row) => {
    if (padding === 'row') return row === count - 1 ? 0 : keys;
    return padding === 'none' ? keys : keys - Math.min(count === 1 ? 1 : row, keys - 1);
  });
}

/** Numbers as a tensor of a type: rounded to float types, and integers as they are. */
function tensorOf(dtype: DataType, shape: readonly number[], numbers: Float64Array): Tensor {
  if (isFloatType(dtype)) return tensorFromBytes(dtype, shape, encodeFloats(dtype, numbers));
  if (dtype === DataType.UNDEFINED || dtype === DataType.STRING)
    throw new Error(`no numbers can be made for an input of type ${dataTypeName(dtype)}`);
  const tensor = zeros(dtype, shape);
  const { data } = tensor;
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) data.set(Array.from(numbers, BigInt));
  else data.set(numbers);
  return tensor;
}
