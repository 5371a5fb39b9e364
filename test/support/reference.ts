/** Between tensors of a run and arrays of the float64 reference, and the parameters of one rewritten attention. */
import type { Model } from '../../src/ir';
import type { Fill } from '../../src/ir/text';
import { decodeFloats } from '../../src/onnx/floats';
import { type Array64, array64, lambdaOf } from '../../src/verify/reference';
import type { StoredColumns } from './attention-forms';
import { randomFill } from './fixtures';
import { numbersOf, type Tensor } from './run';

/** The numbers of a parameter that the rewrite added. */
export function parameter(model: Model, suffix: string, path = 'layers.0.attn'): Float64Array {
  const tensor = model.graph.values.get(`${path}.${suffix}`)?.initializer;
  if (!tensor) throw new Error(`no ${path}.${suffix}`);
  return Float64Array.from(decodeFloats(tensor.dataType as 1, model.bytes(tensor)));
}

/** lambda of a rewritten attention, in float64 from its parameters. */
export function lambdaIn(model: Model, path?: string): number {
  const get = (suffix: string) => parameter(model, suffix, path);
  return lambdaOf({
    lambda_q1: get('lambda_q1'),
    lambda_k1: get('lambda_k1'),
    lambda_q2: get('lambda_q2'),
    lambda_k2: get('lambda_k2'),
    lambda_init: get('lambda_init')[0] ?? Number.NaN,
  });
}

/**
 * A filling in which queries and keys of the original have the second weights of a rewritten model: the original then
 * computes the second map, without the rewriter. Keys that are not named keep their own.
 * @param inFeatures width of what is projected
 */
export function secondFill(
  { query, key }: { readonly query: StoredColumns; readonly key?: StoredColumns },
  model: Model,
  inFeatures: number,
): Fill {
  const first = randomFill(0);
  return (name, count) => {
    const values = Array.from(first(name, count));
    for (const [side, stored] of Object.entries({ q: query, k: key })) {
      if (!stored) continue;
      const { weight, bias, columns, order, outFirst } = stored;
      if (name === weight) {
        const second = parameter(model, `${side}2_proj.weight`);
        order.forEach((column, row) => {
          for (let i = 0; i < inFeatures; i++) {
            const at = outFirst ? column * inFeatures + i : i * columns + column;
            values[at] = second[row * inFeatures + i] ?? Number.NaN;
          }
        });
      } else if (name === bias) {
        const second = parameter(model, `${side}2_proj.bias`);
        order.forEach((column, row) => {
          values[column] = second[row] ?? Number.NaN;
        });
      }
    }
    return values;
  };
}

/** The numbers of a tensor whose heads stand anywhere outside its rows, seen as [batch, heads, rows, width]. */
export function asHeads(tensor: Tensor | undefined, batch: number, heads: number): Array64 {
  const numbers = numbersOf(tensor);
  const width = tensor?.shape.at(-1) ?? 0;
  return array64([batch, heads, numbers.length / (batch * heads * width), width], numbers);
}
