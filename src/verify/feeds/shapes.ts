/**
 * Sizes for the symbolic axes of a model's inputs.
 *
 * The same symbol is the same size, but different symbols need not be different sizes: the dynamo exporter names the
 * batch of each input anew, and the past of each layer. So an axis is sized by what it means, which follows from the
 * input's role, and what the graph says of it (`Relations`) comes before that; names only tell the sequences of an
 * encoder from those of a decoder.
 */
import type { Relations } from '../flow/relations';
import type { FeedInput, Role } from './roles';

/** How large one run is. */
export interface Sizes {
  readonly batch: number;
  /** Length of the present. */
  readonly sequence: number;
  /** Length of the cache. */
  readonly past: number;
  /** Sizes for symbols by name, before anything else. */
  readonly symbols?: Readonly<Record<string, number>>;
  /** What the graph says of the symbols. */
  readonly relations?: Relations;
  /** Sequences that nothing relates get different lengths, or the same. Default: by their names alone. */
  readonly lengths?: 'different' | 'same';
}

type Axis = 'batch' | 'sequence' | 'past' | 'total' | 'other';

/** In the order in which roles say most about their axes: a symbol gets its size from the first that has it. */
const ORDER: readonly Role['kind'][] = [
  'ids',
  'positions',
  'past',
  'total-length',
  'key-lengths',
  'past-length',
  'data',
  'mask',
  'mix',
  'has-past',
  'switch',
  'constant',
];

const NONE: Relations = new Map();

/** The shape of each input, by name. */
export function resolveShapes(inputs: readonly FeedInput[], sizes: Sizes): Map<string, number[]> {
  const known = new Map(Object.entries(sizes.symbols ?? {}));
  const { relations = NONE } = sizes;
  const named = byRole(inputs);
  const places = placesOf(named, relations);
  let others = 0;
  for (const [symbol, { input, axis }] of places) {
    if (known.has(symbol) || relations.has(symbol)) continue;
    const own = sum(symbol, known) ?? sizeOf(input, axis, sizes);
    const isOwn = axisOf(input, axis) === 'sequence' && streamOf(input.name) === 'main';
    known.set(symbol, own + (isOwn && sizes.lengths === 'different' ? 2 * others++ : 0));
  }
  for (const [symbol, dim] of relations) {
    const value = dim.evaluated(known);
    if (!known.has(symbol) && value !== undefined && value >= 0) known.set(symbol, value);
  }
  return new Map(
    named.map((input) => [
      input.name,
      input.shape.map((size, axis) =>
        typeof size === 'number' ? size : (known.get(size) ?? sum(size, known) ?? sizeOf(input, axis, sizes)),
      ),
    ]),
  );
}

/** The symbols of axes that are batches, by the roles of their inputs, each once. */
export function batchSymbols(inputs: readonly FeedInput[]): string[] {
  const names = byRole(inputs).flatMap((input) =>
    input.shape.flatMap((size, axis) =>
      typeof size === 'string' && axisOf(input, axis) === 'batch' ? [size] : [],
    ),
  );
  return [...new Set(names)];
}

interface Place {
  readonly input: FeedInput;
  readonly axis: number;
}

/** Where each symbol means most: in the first input in which it means anything, be it under another name. */
function placesOf(inputs: readonly FeedInput[], relations: Relations): Map<string, Place> {
  const places = new Map<string, Place>();
  for (const input of inputs) {
    input.shape.forEach((size, axis) => {
      if (typeof size === 'number' || size === '') return;
      const same = relations.get(size);
      const symbol = same?.isName ? same.toString() : size;
      const before = places.get(symbol);
      if (before && (axisOf(before.input, before.axis) !== 'other' || axisOf(input, axis) === 'other'))
        return;
      places.set(symbol, { input, axis });
    });
  }
  return places;
}

/** Sizes that the model fixes: those that the first input with such an axis has as a number. */
export function fixedSizes(
  inputs: readonly FeedInput[],
  relations: Relations = NONE,
): Partial<Record<Axis, number>> {
  const sizes = new Map<Axis, number | string>();
  for (const input of byRole(inputs)) {
    if (streamOf(input.name) === 'encoder' || (input.role.kind === 'past' && input.role.whole)) continue;
    input.shape.forEach((size, axis) => {
      const meaning = axisOf(input, axis);
      if (!sizes.has(meaning)) sizes.set(meaning, relations.get(String(size))?.value ?? size);
    });
  }
  sizes.delete('other');
  return Object.fromEntries([...sizes].filter(([, size]) => typeof size === 'number'));
}

function byRole(inputs: readonly FeedInput[]): FeedInput[] {
  return [...inputs].sort((a, b) => ORDER.indexOf(a.role.kind) - ORDER.indexOf(b.role.kind));
}

/** `past_sequence_length + 1`, where all terms are known. */
function sum(text: string, known: ReadonlyMap<string, number>): number | undefined {
  const terms = text.split('+').map((term) => {
    const trimmed = term.trim();
    return /^\d+$/.test(trimmed) ? Number(trimmed) : known.get(trimmed);
  });
  return terms.length < 2 || terms.includes(undefined)
    ? undefined
    : terms.reduce<number>((total, term) => total + (term ?? 0), 0);
}

function sizeOf(input: FeedInput, axis: number, { batch, sequence, past }: Sizes): number {
  const length = lengthOf(streamOf(input.name), sequence);
  const isWhole = input.role.kind === 'past' && input.role.whole;
  switch (axisOf(input, axis)) {
    case 'batch':
      return batch;
    case 'sequence':
      return length;
    case 'past':
      // What an encoder said does not grow: its cache is as long as its sequence.
      return streamOf(input.name) === 'encoder' || isWhole ? length : past;
    case 'total':
      return streamOf(input.name) === 'encoder' ? length : past + length;
    case 'other':
      // A mask has no heads of its own.
      if (input.role.kind === 'mask') return 1;
      return isPlace(input, axis) ? IMAGE : 4;
  }
}

/** Height and width of images. */
const IMAGE = 32;

/** Whether an axis of data is one of places: behind batch and channels, or by its name. */
function isPlace({ role, shape }: FeedInput, axis: number): boolean {
  return (
    /height|width/.test(String(shape[axis])) ||
    (role.kind === 'data' && shape.length > 3 && axis >= shape.length - 2)
  );
}

/** What an axis of an input means. */
function axisOf({ role, shape }: FeedInput, axis: number): Axis {
  const last = shape.length - 1;
  switch (role.kind) {
    case 'ids':
      if (shape.length === 1) return 'sequence';
      return axis === 0 ? 'batch' : axis === 1 ? 'sequence' : 'other';
    case 'positions':
      // Positions of several kinds, such as Qwen2-VL's, stand before the batch.
      return axis === last ? 'sequence' : axis === last - 1 ? 'batch' : 'other';
    case 'mask':
      if (axis === last) return 'total';
      return axis === 0 ? 'batch' : axis === last - 1 ? 'sequence' : 'other';
    case 'past':
      // Keys and values may stand in one tensor, one before the other.
      if (axis === (role.axis ?? pastAxis(shape))) return 'past';
      return axis === (shape.length > 4 ? 1 : 0) ? 'batch' : 'other';
    case 'data':
      return axis === 0 ? 'batch' : axis === sequenceAxis(shape) ? 'sequence' : 'other';
    case 'total-length':
    case 'past-length':
    case 'key-lengths':
      return 'batch';
    case 'mix':
    case 'has-past':
    case 'switch':
    case 'constant':
      // A constant of the shape of the ids, such as token types.
      return shape.length !== 2 ? 'other' : axis === 0 ? 'batch' : 'sequence';
  }
}

/** Of features [B, S, width], sounds [B, bands, S] or [B, S]; images and states have none. */
function sequenceAxis(shape: readonly (number | string)[]): number {
  if (shape.length === 2 && typeof shape[1] === 'string') return 1;
  if (shape.length !== 3) return -1;
  return typeof shape[1] === 'number' && typeof shape[2] === 'string' ? 2 : 1;
}

/** The cache's length is the symbolic axis behind the batch where there is one such, else the one before the width. */
function pastAxis(shape: readonly (number | string)[]): number {
  const symbolic = shape.flatMap((size, axis) => (axis > 0 && typeof size === 'string' ? [axis] : []));
  const [only] = symbolic;
  return only !== undefined && symbolic.length === 1 ? only : shape.length - 2;
}

type Stream = 'main' | 'encoder' | 'decoder';

function streamOf(name: string): Stream {
  return /encoder/.test(name) ? 'encoder' : /decoder/.test(name) ? 'decoder' : 'main';
}

/** Sequences that attend to each other get different lengths, so that mixing them up shows. */
function lengthOf(stream: Stream, sequence: number): number {
  switch (stream) {
    case 'main':
      return sequence;
    case 'encoder':
      return sequence + 2;
    case 'decoder':
      return Math.ceil(sequence / 2);
  }
}
