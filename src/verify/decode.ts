import { DiffxError } from '../errors';
import type { Model } from '../ir';
import { DataType } from '../onnx';
import { compareTensors } from './compare';
import { type FeedInput, makeFeeds } from './feeds';
import type { Relations } from './flow/relations';
import type { KnownInputs } from './input-roles';
import { precisionOf } from './precision';
import type { Session } from './session';
import { type Tensor, toFloat64 } from './tensor';
import { TOLERANCES, type Tolerance } from './tolerance';

/** Tokens that a model says one after the other, the most probable one each time. */
export interface Decoding {
  readonly prompt: readonly number[];
  readonly tokens: readonly number[];
  /** True where keys and values of earlier tokens came from the cache, false where all was computed anew. */
  readonly cached: boolean;
  /** Why it ended before all tokens were said. */
  readonly stopped: string | undefined;
}

export interface NotDecoded {
  /** Why the model is no decoder. */
  readonly notDecoded: string;
}

export interface DecodeSettings {
  /** Default 4. */
  readonly promptLength?: number;
  /** Default 20, as the original converter says. */
  readonly tokens?: number;
}

/** Two ways to the same logits may differ by this many times what one operator may. */
const SLACK = 10;

/** One run. */
interface Step {
  readonly logits: Tensor;
  readonly outputs: Readonly<Record<string, Tensor>>;
}

/**
 * Decodes greedily from a prompt that is the same for every model of a vocabulary. A decoder is known by what it does:
 * token ids in, one number for each word of the vocabulary out, and nothing that later tokens change.
 * @param known what its inputs are for
 */
export async function decodeGreedily(
  model: Model,
  session: Session,
  known: KnownInputs,
  { promptLength = 4, tokens: count = 20 }: DecodeSettings = {},
): Promise<Decoding | NotDecoded> {
  const { inputs, relations } = known;
  const [ids, ...others] = inputs.filter(({ role, shape }) => role.kind === 'ids' && shape.length === 2);
  if (!ids || others.length > 0)
    return { notDecoded: `it has ${ids ? 'several inputs' : 'no input'} of token ids` };
  if (typeof ids.shape[1] === 'number')
    return { notDecoded: `it takes ${ids.shape[1]} tokens, no more and no less` };
  const decoder = new Decoder(session, inputs, ids, relations);
  const prompt = decoder.prompt(promptLength);
  try {
    return await say(decoder, prompt, count, model);
  } catch (error) {
    if (!(error instanceof DiffxError)) throw error;
    return { notDecoded: error.message };
  }
}

async function say(
  decoder: Decoder,
  prompt: readonly number[],
  count: number,
  model: Model,
): Promise<Decoding | NotDecoded> {
  const first = await decoder.run(prompt);
  if (!first) return { notDecoded: 'none of its outputs has one number for each word of the vocabulary' };
  const tokens = [likeliest(first.logits)];
  const whole = await decoder.run([...prompt, ...tokens]);
  const { atol, rtol } = TOLERANCES[precisionOf(model)];
  const tolerance = { atol: atol * SLACK, rtol: rtol * SLACK };
  if (!whole || !compareTensors(first.logits, rows(whole.logits, prompt.length), tolerance).passed)
    return { notDecoded: 'later tokens change what it says of earlier ones' };
  const second = await decoder.continued(tokens, prompt.length, first);
  const cached = second !== undefined && agree(second, whole, tolerance);
  let last = cached ? second : whole;
  let stopped: string | undefined;
  while (tokens.length < count && stopped === undefined) {
    tokens.push(likeliest(last.logits));
    if (tokens.length === count) break;
    const past = prompt.length + tokens.length - 1;
    try {
      const next = cached
        ? await decoder.continued(tokens.slice(-1), past, last)
        : await decoder.run([...prompt, ...tokens]);
      if (next) last = next;
      else stopped = 'its outputs changed';
    } catch (error) {
      if (!(error instanceof DiffxError)) throw error;
      stopped = error.message;
    }
  }
  return { prompt, tokens, cached, stopped };
}

/** What is said of the last token is the same by both ways. */
function agree(cached: Step, whole: Step, tolerance: Tolerance): boolean {
  const vocabulary = whole.logits.shape.at(-1) ?? 1;
  const last = (tensor: Tensor): Tensor => ({
    ...tensor,
    shape: [vocabulary],
    data: tensor.data.slice(-vocabulary) as Tensor['data'],
  });
  return compareTensors(last(whole.logits), last(cached.logits), tolerance).passed;
}

class Decoder {
  constructor(
    readonly session: Session,
    readonly inputs: readonly FeedInput[],
    readonly ids: FeedInput,
    readonly relations: Relations,
  ) {}

  prompt(length: number): number[] {
    const made = makeFeeds([this.ids], { batch: 1, sequence: length, past: 0, padding: 'none', seed: 0 });
    const tensor = made[this.ids.name];
    return tensor ? [...toFloat64(tensor)] : [];
  }

  /** All tokens at once, without a past; undefined where nothing looks like logits. */
  async run(tokens: readonly number[]): Promise<Step | undefined> {
    return this.#step(tokens, 0, {});
  }

  /** Some more tokens behind `past` others; undefined where the model has no cache. */
  async continued(tokens: readonly number[], past: number, before: Step): Promise<Step | undefined> {
    const pasts = this.inputs.filter(({ role }) => role.kind === 'past');
    const presents = this.session.outputs.flatMap(({ name }) => {
      const tensor = before.outputs[name];
      return tensor && tensor !== before.logits && tensor.shape.length >= 3 ? [tensor] : [];
    });
    // Caches stand in the same order on both sides; whether that is so shows in what the model says.
    if (pasts.length === 0 || pasts.length !== presents.length) return undefined;
    const caches = pasts.map(({ name }, index) => [name, presents[index]] as const);
    try {
      return await this.#step(tokens, past, Object.fromEntries(caches));
    } catch (error) {
      if (error instanceof DiffxError && before.outputs === this.#first) return undefined;
      throw error;
    }
  }

  #first: Readonly<Record<string, Tensor>> | undefined;

  async #step(
    tokens: readonly number[],
    past: number,
    caches: Readonly<Record<string, Tensor | undefined>>,
  ): Promise<Step | undefined> {
    const { relations } = this;
    const sizes = { batch: 1, sequence: tokens.length, past, padding: 'none' as const, seed: 0, relations };
    const made = makeFeeds(this.inputs, sizes);
    const given = Object.entries(caches).flatMap(([name, tensor]) =>
      tensor ? [[name, tensor] as const] : [],
    );
    const feeds = { ...made, ...Object.fromEntries(given), [this.ids.name]: this.#idTensor(tokens) };
    const outputs = await this.session.run(feeds);
    this.#first ??= outputs;
    const logits = this.session.outputs
      .map(({ name }) => outputs[name])
      .find((tensor) => tensor?.shape.length === 3 && this.#isLogits(tensor, tokens.length));
    return logits && { logits, outputs };
  }

  #isLogits({ shape, dtype }: Tensor, length: number): boolean {
    const { role } = this.ids;
    const float = dtype === DataType.FLOAT || dtype === DataType.FLOAT16 || dtype === DataType.DOUBLE;
    return (
      float && shape[0] === 1 && shape[1] === length && role.kind === 'ids' && shape[2] === role.vocabulary
    );
  }

  #idTensor(tokens: readonly number[]): Tensor {
    const shape = [1, tokens.length];
    return this.ids.dtype === DataType.INT64
      ? { dtype: DataType.INT64, shape, data: BigInt64Array.from(tokens, BigInt) }
      : { dtype: DataType.INT32, shape, data: Int32Array.from(tokens) };
  }
}

/** The first rows of logits [1, S, V]. */
function rows({ dtype, shape, data }: Tensor, count: number): Tensor {
  const vocabulary = shape[2] ?? 1;
  return { dtype, shape: [1, count, vocabulary], data: data.slice(0, count * vocabulary) as Tensor['data'] };
}

/** The word with the largest number behind the last token; of equal ones the first. */
function likeliest(logits: Tensor): number {
  const vocabulary = logits.shape.at(-1) ?? 1;
  const last = toFloat64(logits).slice(-vocabulary);
  return last.reduce(
    (best, value, index) => (value > (last[best] ?? Number.NEGATIVE_INFINITY) ? index : best),
    0,
  );
}
