/** Feeds for models whose key caches a rewrite has doubled. */
import { declaredShape, type Model } from '../../src/ir';
import { randomFill } from './fixtures';
import { floatTensor, type Tensor, type TensorData, type Tensors } from './run';

/**
 * The same feeds with as many heads as a rewritten model declares: behind the positive keys that were there stand
 * negative ones.
 * @param second random numbers, the same for every export; or copies, as a model that keeps the function has cached them
 */
export function doubledKeys(feeds: Tensors, model: Model, second: 'random' | 'copies'): Tensors {
  return Object.fromEntries(
    Object.entries(feeds).map(([name, tensor]) => {
      const input = model.graph.inputs.find((each) => each.name === name);
      const declared = (input && declaredShape(input)) ?? [];
      const axis = declared.findIndex((size, at) => size === 2 * (tensor.shape[at] ?? 0));
      return [
        name,
        axis < 0
          ? tensor
          : withSecond(
              tensor,
              axis,
              second === 'copies' ? tensor.data : randomFill(9)(name, tensor.data.length),
            ),
      ];
    }),
  );
}

function withSecond({ shape, data }: Tensor, axis: number, second: TensorData): Tensor {
  const inner = shape.slice(axis).reduce((all, size) => all * size, 1);
  const [positive, negative] = [data, second].map((keys) =>
    Array.from<number | bigint, number>(keys, Number),
  );
  const both: number[] = [];
  for (let from = 0; from < data.length; from += inner) {
    for (const keys of [positive, negative]) both.push(...(keys ?? []).slice(from, from + inner));
  }
  return floatTensor(
    shape.map((size, at) => (at === axis ? 2 * size : size)),
    both,
  );
}
