/** Feeds for decoding: many tokens at once, or one after the other with what the model has cached. */
import { declaredShape, type Model } from '../../src/ir';
import { DataType } from '../../src/onnx';
import type { Session } from '../../src/verify/session';
import { elementCount } from '../../src/verify/tensor';
import { randomFill } from './fixtures';
import { fittingFeeds, floatTensor, intTensor, type Tensor, type Tensors } from './run';

/** Sizes of a decoding test. */
export interface Decoding {
  readonly batch: number;
  /** Keys that are cached before the first token. */
  readonly past: number;
  readonly steps: number;
  /** How many keys at the front of the last sequence are padding. */
  readonly padding: number;
}

/** Names of past inputs of a model, and of the outputs that hold what comes after. */
export function cacheNames(model: Model): ReadonlyMap<string, string> {
  const outputs = new Set(model.graph.outputs.map(({ name }) => name));
  return new Map(
    model.graph.inputs.flatMap(({ name }): [string, string][] => {
      const present = name.replace('past_key_values', 'present');
      return present !== name && outputs.has(present) ? [[name, present]] : [];
    }),
  );
}

const VOCABULARY = 50;

/**
 * What a model is fed for tokens `from` to `to`.
 * @param cached the caches by input; default random numbers, the same ones for a model and its rewritten form
 */
export function tokens(
  model: Model,
  { batch, past, steps, padding }: Decoding,
  [from, to]: readonly [number, number],
  cached: Tensors = {},
): Tensors {
  const count = to - from;
  const at = (f: (b: number, i: number) => number, width: number) =>
    intTensor(
      [batch, width],
      Array.from({ length: batch * width }, (_, i) => f(Math.floor(i / width), i % width)),
    );
  const ids = randomFill(5)('ids', batch * steps);
  const hidden = (b: number) => (b === batch - 1 ? padding : 0);
  const total = past + to;
  const int32 = (shape: readonly number[], value: number): Tensor => ({
    dtype: DataType.INT32,
    shape,
    data: new Int32Array(elementCount(shape)).fill(value),
  });
  const pasts = model.graph.inputs.flatMap((input): [string, Tensor][] => {
    const shape = cacheNames(model).has(input.name) ? declaredShape(input) : undefined;
    if (!shape) return [];
    const [heads = 0, width = 0] = [shape[1], shape[3]].map(Number);
    return [
      [
        input.name,
        floatTensor([batch, heads, past, width], pastNumbers(input.name, batch, heads, past * width)),
      ],
    ];
  });
  return {
    ...Object.fromEntries(pasts),
    ...cached,
    input_ids: at(
      (b, i) => Math.floor(((ids[b * steps + from + i] ?? 0) + 1) * 0.5 * (VOCABULARY - 1)),
      count,
    ),
    attention_mask: at((b, i) => (i < hidden(b) ? 0 : 1), total),
    position_ids: at((b, i) => past + from + i - hidden(b), count),
    seqlens_k: int32([batch], total - 1),
    total_sequence_length: int32([], total),
    use_cache_branch: { dtype: DataType.BOOL, shape: [1], data: Uint8Array.of(1) },
  };
}

/** Random caches whose first heads are the same, however many there are. */
function pastNumbers(name: string, batch: number, heads: number, size: number): number[] {
  return Array.from({ length: batch * heads }, (_, i) =>
    Array.from(randomFill(6)(`${name}.${Math.floor(i / heads)}.${i % heads}`, size)),
  ).flat();
}

/** One token after the other, with the caches of the step before: the outputs of every step. */
export async function stepByStep(session: Session, model: Model, sizes: Decoding): Promise<Tensors[]> {
  const names = cacheNames(model);
  const results: Tensors[] = [];
  for (let step = 0; step < sizes.steps; step++) {
    const last = results.at(-1);
    const cached = last
      ? Object.fromEntries(
          [...names].flatMap(([past, present]) => (last[present] ? [[past, last[present]]] : [])),
        )
      : {};
    results.push(await session.run(fittingFeeds(session, tokens(model, sizes, [step, step + 1], cached))));
  }
  return results;
}

/** Rows `from` to `to` of an axis. */
export function rowsOf(tensor: Tensor, axis: number, from: number, to: number): Tensor {
  const { shape, data, dtype } = tensor;
  const inner = elementCount(shape.slice(axis + 1));
  const size = shape[axis] ?? 0;
  const blocks = Array.from({ length: elementCount(shape.slice(0, axis)) }, (_, block) =>
    Array.from<number | bigint, number>(
      data.slice((block * size + from) * inner, (block * size + to) * inner),
      Number,
    ),
  ).flat();
  const cut = shape.map((each, at) => (at === axis ? to - from : each));
  if (dtype !== DataType.FLOAT16) return floatTensor(cut, blocks);
  return { dtype, shape: cut, data: Uint16Array.from(blocks) };
}
