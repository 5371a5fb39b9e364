import { tensorShape } from '../analyse';
import type { Model } from '../ir';
import { isFloatType } from '../onnx/floats';
import { transposedRows } from './columns';
import type { NamedWeight } from './parameter-names';

/** A stored weight, and what a checkpoint has for it. */
export interface Matched<T> extends NamedWeight {
  readonly found: T;
}

/**
 * The weights that a checkpoint has something for. Of tied weights it has one, and an exporter that transposes one of them
 * stores both: a matrix without a key that equals one with a key, number by number, is tied to it.
 */
export function withTied<T>(
  model: Model,
  weights: readonly NamedWeight[],
  find: (name: string) => T | undefined,
): Matched<T>[] {
  const matched: Matched<T>[] = [];
  const rest: NamedWeight[] = [];
  for (const weight of weights) {
    const found = weight.otherNames.reduce((known, name) => known ?? find(name), find(weight.name));
    if (found === undefined) rest.push(weight);
    else matched.push({ ...weight, found });
  }
  const tied = rest.flatMap((weight): Matched<T>[] => {
    const twin = isMatrix(weight) ? matched.find((each) => isTied(model, weight, each)) : undefined;
    return twin ? [{ ...weight, found: twin.found }] : [];
  });
  return [...matched, ...tied];
}

function isMatrix({ value }: NamedWeight): boolean {
  return value.initializer?.dims.length === 2 && isFloatType(value.initializer.dataType);
}

/** True for the same numbers; not where they are all the same one, as what was never trained may be. */
function isTied(model: Model, one: NamedWeight, other: NamedWeight): boolean {
  if (!isMatrix(other)) return false;
  if (shapeOf(one).join() !== shapeOf(other).join()) return false;
  if (one.value.initializer?.dataType !== other.value.initializer?.dataType) return false;
  const [a, b] = [bytesOf(model, one), bytesOf(model, other)];
  return Buffer.compare(a, b) === 0 && a.some((byte, index) => byte !== a[index % 4]);
}

/** As a checkpoint has it. */
function shapeOf({ value, transposed }: NamedWeight): number[] {
  const shape = value.initializer ? tensorShape(value.initializer) : [];
  return transposed ? shape.reverse() : shape;
}

function bytesOf(model: Model, weight: NamedWeight): Uint8Array {
  const tensor = weight.value.initializer;
  if (!tensor) return new Uint8Array();
  const data = model.file.tensorBytes(tensor);
  if (!weight.transposed) return data.read();
  return transposedRows(data, tensorShape(tensor), tensor.dataType ?? 0).read();
}
