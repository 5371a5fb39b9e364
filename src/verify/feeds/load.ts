/** Inputs and expected outputs from a safetensors file: `--inputs file.safetensors`. */
import { errors } from '../../errors';
import { dataTypeName } from '../../onnx/data-types';
import { openSafetensors } from '../../weights/checkpoint';
import type { StoredTensor } from '../../weights/safetensors';
import { elementCount, type Tensor, type TensorDescription, tensorFromBytes } from '../tensor';

export interface LoadedFeeds {
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** Outputs that the file says the model should give; empty where it says nothing. */
  readonly expected: Readonly<Record<string, Tensor>>;
  /** Tensors of the file that are neither. */
  readonly unused: readonly string[];
}

/**
 * Reads a tensor for each input, called `input.<name>` or `<name>`, and the tensors called `output.<name>`.
 * @throws DiffxError feed-mismatch where an input has no tensor or one of another type or shape, and as `openSafetensors`
 */
export function loadFeeds(path: string, inputs: readonly TensorDescription[]): LoadedFeeds {
  const file = openSafetensors(path);
  const used = new Set<string>();
  const feeds: [string, Tensor][] = inputs.map((input) => {
    const stored = [`input.${input.name}`, input.name].find((name) => file.get(name) !== undefined);
    const tensor = stored === undefined ? undefined : file.get(stored);
    if (stored === undefined || !tensor)
      throw errors.feedMismatch(path, `has no tensor 'input.${input.name}' for that input`);
    used.add(stored);
    return [input.name, feedFor(path, stored, input, tensor)];
  });
  const outputs = file.names.filter((name) => name.startsWith('output.') && !used.has(name));
  const expected = outputs.map((name): [string, Tensor] => {
    used.add(name);
    return [name.slice('output.'.length), load(file.get(name) as StoredTensor)];
  });
  const unused = file.names.filter((name) => !used.has(name));
  return { feeds: Object.fromEntries(feeds), expected: Object.fromEntries(expected), unused };
}

function load({ dtype, shape, data }: StoredTensor): Tensor {
  return tensorFromBytes(dtype, shape, data.read());
}

function feedFor(path: string, stored: string, input: TensorDescription, tensor: StoredTensor): Tensor {
  const { dtype, shape } = tensor;
  if (dtype !== input.dtype) {
    const [wanted, given] = [dataTypeName(input.dtype), dataTypeName(dtype)];
    throw errors.feedMismatch(path, `'${stored}' is ${given}, the input is ${wanted}`);
  }
  // Some writers know no scalars and store one number as [1].
  if (input.shape.length === 0 && elementCount(shape) === 1) return { ...load(tensor), shape: [] };
  const fits =
    shape.length === input.shape.length &&
    input.shape.every((size, axis) => typeof size === 'string' || size === shape[axis]);
  if (!fits) throw errors.feedMismatch(path, `'${stored}' is [${shape}], the input is [${input.shape}]`);
  return load(tensor);
}
