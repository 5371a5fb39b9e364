/** Running models in ONNX Runtime, and comparing what they give. */

import { memoryBytes } from '../../src/onnx';
import { DataType } from '../../src/onnx/data-types';
import { encodeFloats, isFloatType } from '../../src/onnx/floats';
import { compareTensors } from '../../src/verify/compare';
import { type Session, withSession } from '../../src/verify/session';
import {
  elementCount,
  type Tensor,
  type TensorData,
  tensorFromBytes,
  toFloat64,
} from '../../src/verify/tensor';
import { openSafetensors } from '../../src/weights/checkpoint';
import { type TensorToWrite, writeSafetensors } from '../../src/weights/safetensors-write';

export type Tensors = Readonly<Record<string, Tensor>>;

/** The tensors of a safetensors file whose names begin so, by the rest of their names. */
export function readTensors(file: string, prefix = ''): Tensors {
  const stored = openSafetensors(file);
  return Object.fromEntries(
    stored.names.flatMap((name) => {
      const tensor = stored.get(name);
      if (!tensor || !name.startsWith(prefix)) return [];
      return [[name.slice(prefix.length), tensorFromBytes(tensor.dtype, tensor.shape, tensor.data.read())]];
    }),
  );
}

/** Writes tensors into a safetensors file, over one that is there. */
export function writeTensors(file: string, tensors: Tensors): void {
  const entries = Object.entries(tensors).map(([name, { dtype, shape, data }]): [string, TensorToWrite] => [
    name,
    { dtype, shape, data: memoryBytes(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)) },
  ]);
  writeSafetensors(file, new Map(entries), { force: true });
}

export function floatTensor(shape: readonly number[], values: Iterable<number>): Tensor {
  const data = Float32Array.from(values);
  if (data.length !== elementCount(shape)) throw new Error(`${data.length} numbers for [${shape}]`);
  return { dtype: DataType.FLOAT, shape, data };
}

export function intTensor(shape: readonly number[], values: Iterable<number>): Tensor {
  return { dtype: DataType.INT64, shape, data: BigInt64Array.from(values, BigInt) };
}

/** The same numbers in another floating-point type. */
function converted(tensor: Tensor, dtype: DataType): Tensor {
  if (tensor.dtype === dtype || !isFloatType(dtype)) return tensor;
  const bytes = encodeFloats(dtype, Float32Array.from(toFloat64(tensor)));
  return tensorFromBytes(dtype, tensor.shape, bytes);
}

export interface RunOptions {
  /** Names of the outputs. Default: all. */
  readonly outputs?: readonly string[];
  readonly optimization?: 'disabled' | 'extended' | 'all';
}

/**
 * Runs a model once. Feeds are converted to the floating-point type that an input has, and those that the model has no
 * input for are left out: exporters disagree about both.
 */
export async function runModel(
  model: string | Uint8Array,
  feeds: Tensors,
  { outputs, optimization = 'all' }: RunOptions = {},
): Promise<Tensors> {
  return withSession(model, { threads: 1, optimization }, (session) => {
    return session.run(fittingFeeds(session, feeds), outputs);
  });
}

/** The feeds that a model has inputs for, in the floating-point types of these. */
export function fittingFeeds({ inputs }: Pick<Session, 'inputs'>, feeds: Tensors): Tensors {
  return Object.fromEntries(
    inputs.flatMap(({ name, dtype }): [string, Tensor][] => {
      const tensor = feeds[name];
      return tensor ? [[name, converted(tensor, dtype)]] : [];
    }),
  );
}

/** The largest difference of two tensors; fails where they cannot be compared at all. */
export function largestDifference(expected: Tensor | undefined, actual: Tensor | undefined): number {
  const [a, b] = [expected, actual].map((tensor) => tensor && converted(tensor, DataType.FLOAT));
  const { mismatch, maxAbs, nanMismatches, infinityMismatches } = compareTensors(a, b);
  if (mismatch !== undefined) throw new Error(`cannot be compared: ${mismatch}`);
  return nanMismatches + infinityMismatches > 0 ? Number.POSITIVE_INFINITY : maxAbs;
}

/** Fails with the output and the largest error where an expected output is farther away than the tolerance. */
export function expectClose(actual: Tensors, expected: Tensors, tolerance: number): void {
  expect(Object.keys(expected)).not.toHaveLength(0);
  const errors = Object.entries(expected).map(([name, tensor]) => {
    const error = largestDifference(tensor, actual[name]);
    return { name, error };
  });
  const wrong = errors.filter(({ error }) => !(error <= tolerance));
  expect(
    wrong.map(({ name, error }) => `${name}: error ${error.toExponential(1)}, allowed ${tolerance}`),
  ).toEqual([]);
}

/** As one typed array after the other, for exact comparisons. */
export function numbersOf(tensor: Tensor | undefined): number[] {
  if (!tensor) throw new Error('no tensor');
  return Array.from(toFloat64(tensor));
}

export type { Tensor, TensorData };
