/**
 * Inputs that a model takes: what was read off the graph is tried on the model itself, and where it does not run, other
 * masks and the sizes that the graph holds as numbers are tried, a bounded number of times.
 */
import { DiffxError } from '../errors';
import type { Model } from '../ir';
import {
  type FeedCase,
  type FeedInput,
  isDelicate,
  makeFeeds,
  type PlanOptions,
  planCases,
  resolveShapes,
  SAFE_VOCABULARY,
} from './feeds';
import { type BakedSizes, bakedSizes } from './flow/baked-sizes';
import { spanLengths } from './flow/spans';
import { knownInputs } from './input-roles';
import type { Session } from './session';
import { isFloatTensor, type Tensor, toFloat64 } from './tensor';

/** Inputs, and sizes, with which a model is run. */
export interface Fit {
  readonly inputs: readonly FeedInput[];
  readonly plan: Pick<PlanOptions, 'batches' | 'lengths' | 'sizes'>;
}

type Sizes = NonNullable<PlanOptions['sizes']>;

/** Batch and length of the runs that show whether inputs fit. */
const TYPICAL = [
  [3, 5],
  [1, 5],
  [1, 1],
] as const;
const BATCHES = [1, 3];
const LENGTHS = [1, 5, 16];
/** So many runs are spent on sizes that the graph holds. */
const MOST_TRIES = 300;
const LARGEST_BATCH = 64;
const MOST_TOKENS = 4096;
/** Up to this one every length is tried, since it may be baked in in ways that no constant shows. */
const EVERY_LENGTH = 64;

/**
 * Finds inputs that a model takes without giving NaN and nothing else; where there are none, those that say most about it.
 * @param fixed batches and lengths that are wanted and nothing else
 */
export async function fitInputs(
  model: Model,
  session: Session,
  fixed: Pick<PlanOptions, 'batches' | 'lengths'>,
): Promise<Fit> {
  const { inputs, relations } = knownInputs(model, session.inputs);
  const ways: Sizes[] = [{ relations, lengths: 'different' }, { relations }, {}];
  const trial = new Trial(session);
  let [some, ran]: (Fit | undefined)[] = [];
  const guesses = guessedBounds(inputs);
  // A small case may run by luck, so the guesses are tried on large ones first.
  for (const [batch, length] of TYPICAL) {
    for (const each of guesses) {
      for (const sizes of ways) {
        const options = { batches: fixed.batches ?? [batch], lengths: fixed.lengths ?? [length], sizes };
        const result = await trial.run(each, options);
        const fit = { inputs: each, plan: { ...fixed, sizes } };
        if (result === 'numbers') return fit;
        if (result === 'part') some ??= fit;
        if (result !== 'nan') continue;
        for (const others of otherMasks(each))
          if ((await trial.run(others, options)) === 'numbers') return { ...fit, inputs: others };
        ran ??= fit;
      }
    }
  }
  const best = some ?? ran;
  if (best) return best;
  const isFree = fixed.lengths === undefined && fixed.batches === undefined;
  const held = { ...bakedSizes(model), spans: spanLengths(model) };
  const found = isFree ? await search(trial, inputs, ways, held) : undefined;
  return found ?? { inputs, plan: { ...fixed, sizes: { relations } } };
}

/**
 * Inputs as they are; where bounds of indices are guessed, with 0 for those: it is an index into any table; and where
 * there are several indices, each with its part of the table: they may be added up before anything is gathered by them.
 */
function guessedBounds(inputs: readonly FeedInput[]): (readonly FeedInput[])[] {
  const lowered = inputs.map(
    (input): FeedInput => (isGuessed(input) ? { ...input, role: { kind: 'ids', vocabulary: 1 } } : input),
  );
  const indices = inputs.filter(({ role }) => role.kind === 'ids' || role.kind === 'positions').length;
  return [
    inputs,
    ...(inputs.some(isGuessed) ? [lowered] : []),
    ...(indices > 1 ? [lowered.map((input) => withPart(input, indices))] : []),
  ];
}

/** An index of which so many together stay in the table: n numbers of at most (size - 1) / n each. */
function withPart(input: FeedInput, indices: number): FeedInput {
  const { role } = input;
  const part = (size: number) => Math.floor((size - 1) / indices) + 1;
  if (role.kind === 'ids') return { ...input, role: { ...role, vocabulary: part(role.vocabulary) } };
  if (role.kind !== 'positions' || role.bound === undefined) return input;
  return { ...input, role: { ...role, bound: part(role.bound) } };
}

/** Whether nothing is known of integers but that they are some. */
function isGuessed({ role }: FeedInput): boolean {
  return role.kind === 'ids' && role.vocabulary === SAFE_VOCABULARY;
}

/** What a model gives: `nothing` where it does not run, `part` where it runs in some cases, `nan` where no number is one. */
type Result = 'numbers' | 'nan' | 'part' | 'nothing';

class Trial {
  /** How often the model was run. */
  tries = 0;
  readonly #results = new Map<string, Result>();

  constructor(readonly session: Session) {}

  /** Runs the first and the last case without padding that options plan; what was tried before is not tried again. */
  async run(inputs: readonly FeedInput[], options: PlanOptions): Promise<Result> {
    const planned = planCases(inputs, options).filter(
      (each) => each.padding === 'none' && !isDelicate(each) && each.on !== false,
    );
    const ends = [...planned.slice(0, 1), ...planned.slice(1).slice(-1)];
    const results: Result[] = [];
    for (const feedCase of ends) {
      const shapes = [...resolveShapes(inputs, feedCase)];
      const key = JSON.stringify([shapes, feedCase.past, inputs.map(({ role }) => role)]);
      const result = this.#results.get(key) ?? (await this.#runCase(inputs, feedCase));
      this.#results.set(key, result);
      results.push(result);
    }
    if (results.every((result) => result === 'nothing')) return 'nothing';
    if (results.includes('nothing')) return 'part';
    return results.includes('numbers') ? 'numbers' : 'nan';
  }

  async #runCase(inputs: readonly FeedInput[], feedCase: FeedCase): Promise<Result> {
    this.tries++;
    try {
      const outputs = await this.session.run(makeFeeds(inputs, feedCase));
      return isNothingButNan(outputs) ? 'nan' : 'numbers';
    } catch (error) {
      if (!(error instanceof DiffxError)) throw error;
      return 'nothing';
    }
  }
}

/** Whether none of the floats that a model gives is a number; outputs without elements say nothing. */
function isNothingButNan(outputs: Readonly<Record<string, Tensor>>): boolean {
  const floats = Object.values(outputs).filter((tensor) => isFloatTensor(tensor) && tensor.data.length > 0);
  return floats.length > 0 && floats.every((tensor) => toFloat64(tensor).every(Number.isNaN));
}

const OTHER = { keep: ['hide'], hide: ['keep'], additive: ['keep', 'hide'] } as const;

/** Each mask turned round, alone, and then all of them; integers of which nothing is known may be masks too. */
function otherMasks(inputs: readonly FeedInput[]): FeedInput[][] {
  const forms = (input: FeedInput) => {
    if (input.role.kind === 'mask') return OTHER[input.role.form ?? 'keep'];
    return isGuessed(input) && input.shape.length > 1 ? (['keep', 'hide'] as const) : [];
  };
  const turned = (input: FeedInput, form = forms(input)[0]): FeedInput =>
    form === undefined ? input : { ...input, role: { kind: 'mask', form } };
  const alone = inputs.flatMap((input) =>
    forms(input).map((form) => inputs.map((each) => (each === input ? turned(each, form) : each))),
  );
  return alone.length > 1 ? [...alone, inputs.map((input) => turned(input))] : alone;
}

interface HeldSizes extends BakedSizes {
  /** Lengths that convolutions need. */
  readonly spans: readonly number[];
}

/** Tries sizes that the graph holds as numbers, in every way to relate them. */
async function search(
  trial: Trial,
  inputs: readonly FeedInput[],
  ways: readonly Sizes[],
  held: HeldSizes,
): Promise<Fit | undefined> {
  for (const { batch, length, symbols } of trialSizes(inputs, held)) {
    for (const way of ways) {
      if (trial.tries >= MOST_TRIES) return undefined;
      const sizes = { ...way, symbols };
      if ((await trial.run(inputs, { batches: [batch], lengths: [length], sizes })) === 'nothing') continue;
      return widen(trial, inputs, sizes, [batch, length], held.spans);
    }
  }
  return undefined;
}

interface TrialSizes {
  readonly batch: number;
  readonly length: number;
  readonly symbols: Readonly<Record<string, number>>;
}

/** Batches with lengths, then other sizes for each pair of axes that are named. */
function* trialSizes(
  inputs: readonly FeedInput[],
  { sizes, places, spans }: HeldSizes,
): Iterable<TrialSizes> {
  const batches = unique([...BATCHES, 2, ...sizes.filter((size) => size <= LARGEST_BATCH)]);
  const lengths = unique([...LENGTHS, ...sizes]);
  const names = unique(inputs.flatMap(({ shape }) => shape.filter((size) => typeof size === 'string')));
  const images = unique(
    inputs.flatMap(({ role, shape }) =>
      role.kind === 'data' && shape.length > 3
        ? shape.slice(-2).filter((size) => typeof size === 'string')
        : [],
    ),
  );
  for (const length of spans) for (const batch of [3, 1, 2]) yield { batch, length, symbols: {} };
  for (const place of images.length > 0 ? places : []) {
    const symbols = Object.fromEntries(images.map((name) => [name, place]));
    for (const batch of [...BATCHES, 2]) yield { batch, length: 5, symbols };
  }
  for (const batch of batches) yield { batch, length: 5, symbols: {} };
  for (const length of lengths) yield { batch: 1, length, symbols: {} };
  for (let length = 2; length <= EVERY_LENGTH; length++) yield { batch: 1, length, symbols: {} };
  for (const batch of batches.slice(0, 8)) {
    for (const length of lengths) if (batch * length <= MOST_TOKENS) yield { batch, length, symbols: {} };
  }
  for (const first of names) {
    for (const second of names.filter((name) => name !== first)) {
      for (const a of sizes.slice(0, 8))
        for (const b of sizes.slice(0, 8))
          yield { batch: 1, length: 5, symbols: { [first]: a, [second]: b } };
    }
  }
}

/** Of the usual batches and lengths those that run with what was found. */
async function widen(
  trial: Trial,
  inputs: readonly FeedInput[],
  sizes: Sizes,
  [batch, length]: readonly [number, number],
  spans: readonly number[],
): Promise<Fit> {
  const batches = [batch];
  const lengths = [length];
  const runs = async (options: PlanOptions) => (await trial.run(inputs, { ...options, sizes })) !== 'nothing';
  for (const other of BATCHES)
    if (other !== batch && (await runs({ batches: [other], lengths }))) batches.push(other);
  for (const other of [...LENGTHS, ...spans])
    if (other !== length && (await runs({ batches: [batch], lengths: [other] }))) lengths.push(other);
  return { inputs, plan: { batches, lengths, sizes } };
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}
