/** Held here because a lookup of a global per number is slow in some hosts (node:vm contexts, so Jest). */
const { floor } = Math;
/** Arrays of float64 with a shape: all that the reference computes with. */

export interface Array64 {
  readonly shape: readonly number[];
  /** Row-major. */
  readonly data: Float64Array;
  /** By how much each number may be off in the model, which rounds the scores that it is computed from; see `rounding.ts`. */
  readonly slack?: Float64Array;
}

/** Moves the numbers of an array, and the slack of each with it. */
export function moving(array: Array64, move: (plain: Array64) => Array64): Array64 {
  const { shape, data } = move(array);
  const slack = array.slack && move({ shape: array.shape, data: array.slack }).data;
  return slack ? { shape, data, slack } : { shape, data };
}

/** @throws Error where the numbers do not fill the shape */
export function array64(shape: readonly number[], data: Iterable<number>): Array64 {
  const numbers = data instanceof Float64Array ? data : Float64Array.from(data);
  const count = size(shape);
  if (numbers.length !== count) throw new Error(`${numbers.length} numbers for [${shape}]`);
  return { shape, data: numbers };
}

/** How many elements a shape has; 1 for a scalar. */
export function size(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/** A number that must be there. */
export function at(array: Array64, index: number): number {
  const value = array.data[index];
  if (value === undefined) throw new Error(`no element ${index} in [${array.shape}]`);
  return value;
}

/** Splits a shape into its leading axes and its last `count` ones. */
export function splitShape(
  { shape }: Array64,
  count: number,
): { leading: readonly number[]; last: readonly number[] } {
  if (shape.length < count) throw new Error(`[${shape}] has fewer than ${count} axes`);
  const cut = shape.length - count;
  return { leading: shape.slice(0, cut), last: shape.slice(cut) };
}

/** @throws Error where the two shapes differ */
export function assertSameShape(a: readonly number[], b: readonly number[]): void {
  if (a.length !== b.length || a.some((length, axis) => length !== b[axis]))
    throw new Error(`[${a}] is not [${b}]`);
}

/**
 * Repeats an array to a shape by the rules of ONNX and NumPy: axes align at the end, and one of length 1 is repeated.
 * @throws Error where the rules do not allow it
 */
export function broadcastTo(array: Array64, shape: readonly number[]): Array64 {
  const missing = shape.length - array.shape.length;
  const own = [...Array.from({ length: missing }, () => 1), ...array.shape];
  if (missing < 0 || own.some((length, axis) => length !== 1 && length !== shape[axis]))
    throw new Error(`[${array.shape}] does not broadcast to [${shape}]`);
  const data = new Float64Array(size(shape));
  for (let flat = 0; flat < data.length; flat++) {
    let rest = flat;
    let source = 0;
    let stride = 1;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const length = shape[axis] as number;
      const ownLength = own[axis] as number;
      if (ownLength !== 1) source += (rest % length) * stride;
      rest = floor(rest / length);
      stride *= ownLength;
    }
    data[flat] = at(array, source);
  }
  return { shape, data };
}

/** Axis `i` of the result is axis `axes[i]` of the array, as Transpose has it. */
export function permute(array: Array64, axes: readonly number[]): Array64 {
  return moving(array, (plain) => permuted(plain, axes));
}

function permuted(array: Array64, axes: readonly number[]): Array64 {
  const shape = axes.map((axis) => array.shape[axis] ?? Number.NaN);
  const strides = array.shape.map((_, axis) => size(array.shape.slice(axis + 1)));
  const data = new Float64Array(size(shape));
  for (let flat = 0; flat < data.length; flat++) {
    let rest = flat;
    let source = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const length = shape[axis] as number;
      source += (rest % length) * (strides[axes[axis] as number] as number);
      rest = floor(rest / length);
    }
    data[flat] = at(array, source);
  }
  return { shape, data };
}
