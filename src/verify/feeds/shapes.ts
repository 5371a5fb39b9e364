/**
 * Sizes for the symbolic axes of a model's inputs.
 *
 * The same symbol is the same size, but different symbols need not be different sizes: the dynamo exporter names the
 * batch of each input anew, and the past of each layer. So an axis is sized by what it means, which follows from the
 * input's role; names only tell the sequences of an encoder from those of a decoder.
 */
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
}

type Axis = 'batch' | 'sequence' | 'past' | 'total' | 'other';

/** In the order in which roles say most about their axes: a symbol gets its size from the first that has it. */
const ORDER: readonly Role['kind'][] = [
  'ids',
  'positions',
  'past',
  'total-length',
  'data',
  'mask',
  'mix',
  'has-past',
  'switch',
  'constant',
];

/** The shape of each input, by name. */
export function resolveShapes(inputs: readonly FeedInput[], sizes: Sizes): Map<string, number[]> {
  const known = new Map(Object.entries(sizes.symbols ?? {}));
  return new Map(
    byRole(inputs).map((input) => {
      const shape = input.shape.map((size, axis) => {
        if (typeof size === 'number') return size;
        const value = known.get(size) ?? sum(size, known) ?? sizeOf(input, axis, sizes);
        if (size !== '') known.set(size, value);
        return value;
      });
      return [input.name, shape];
    }),
  );
}

/** Sizes that the model fixes: those that the first input with such an axis has as a number. */
export function fixedSizes(inputs: readonly FeedInput[]): Partial<Record<Axis, number>> {
  const sizes = new Map<Axis, number | string>();
  for (const input of byRole(inputs)) {
    if (streamOf(input.name) === 'encoder') continue;
    input.shape.forEach((size, axis) => {
      const meaning = axisOf(input, axis);
      if (!sizes.has(meaning)) sizes.set(meaning, size);
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
  switch (axisOf(input, axis)) {
    case 'batch':
      return batch;
    case 'sequence':
      return length;
    case 'past':
      // What an encoder said does not grow: its cache is as long as its sequence.
      return streamOf(input.name) === 'encoder' ? length : past;
    case 'total':
      return streamOf(input.name) === 'encoder' ? length : past + length;
    case 'other':
      // A mask has no heads of its own.
      if (input.role.kind === 'mask') return 1;
      return /height|width/.test(String(input.shape[axis])) ? 32 : 4;
  }
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
      return axis === 0 ? 'batch' : axis === pastAxis(shape) ? 'past' : 'other';
    case 'data':
      return axis === 0 ? 'batch' : axis === 1 && shape.length === 3 ? 'sequence' : 'other';
    case 'total-length':
      return 'batch';
    case 'mix':
    case 'has-past':
    case 'switch':
    case 'constant':
      // A constant of the shape of the ids, such as token types.
      return shape.length !== 2 ? 'other' : axis === 0 ? 'batch' : 'sequence';
  }
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
