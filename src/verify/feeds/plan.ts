/** Which runs to try a model on: batches and lengths at which rewrites go wrong in different ways. */
import type { FeedInput, Role } from './roles';
import { fixedSizes, resolveShapes, type Sizes } from './shapes';

export interface FeedCase extends Sizes {
  /** Where rows behind the first are shorter: at their end or at their beginning; `row`: the last one is padding alone. */
  readonly padding: 'none' | 'left' | 'right' | 'row';
  readonly seed: number;
  /** For `diff_attn_mix`. Default: 1. */
  readonly mix?: number;
  /** For switches. Default: true. */
  readonly on?: boolean;
  /** Numbers that are fed are this many times as large as usual. Default: 1. */
  readonly volume?: number;
}

/** True for cases in which a model may overflow, or divide by nothing, as it is: what it gives then proves nothing. */
export function isDelicate({ padding, volume = 1 }: FeedCase): boolean {
  return padding === 'row' || volume > 1;
}

export interface PlanOptions {
  readonly batches?: readonly number[];
  readonly lengths?: readonly number[];
  readonly seed?: number;
  /** What goes for all cases, see `Sizes`. */
  readonly sizes?: Pick<Sizes, 'symbols' | 'relations' | 'lengths'>;
}

/** How large numbers of an extreme case are: products of two exceed what float16 holds. */
const LOUD = 256;

/** Length of the cache where there is one. */
const PAST = 6;

/**
 * The cases for a model, small ones first and each of them once: every batch (1, 3) with every length (1, 5, 16), where
 * there is a mask and a batch of several rows, or no other, also padded on either side, where there is a cache also with one, where there is a switch both ways.
 * A size that the model fixes stays. Unless lengths are given: also with a row that is padding alone, and with large
 * numbers, where there are inputs for that.
 */
export function planCases(inputs: readonly FeedInput[], options: PlanOptions = {}): FeedCase[] {
  const fixed = fixedSizes(inputs, options.sizes?.relations);
  const choices = (axis: 'batch' | 'sequence' | 'past', otherwise: readonly number[]) => {
    const value = fixed[axis];
    return value === undefined ? otherwise : [value];
  };
  const batches = choices('batch', options.batches ?? [1, 3]);
  const lengths = choices('sequence', options.lengths ?? [1, 5, 16]);
  const pasts = choices('past', inputs.some(({ role }) => role.kind === 'past') ? [0, PAST] : [0]);
  const masked = inputs.some(isMask);
  // Keys are counted on their own, be there one query.
  const hasLengths = inputs.some(({ role }) => role.kind === 'key-lengths');
  const cases: FeedCase[] = [];
  for (const past of pasts) {
    for (const sequence of lengths) {
      for (const batch of batches) {
        const one = { batch, sequence, past, seed: options.seed ?? 0, ...options.sizes };
        cases.push({ ...one, padding: 'none' });
        if (masked && (batch > 1 || batches.length === 1) && (past + sequence > 1 || hasLengths))
          cases.push({ ...one, padding: 'left' }, { ...one, padding: 'right' });
      }
    }
  }
  if (!options.lengths) cases.push(...extremeCases(inputs, cases));
  const switched = inputs.some(({ role }) => role.kind === 'switch');
  const all = switched ? cases.flatMap((one) => [one, { ...one, on: false }]) : cases;
  return distinct(inputs, all);
}

function isMask({ role }: FeedInput): boolean {
  return role.kind === 'mask' || role.kind === 'key-lengths';
}

/** Of the longest case with most rows: once with large numbers, once with a row that is padding alone. */
function extremeCases(inputs: readonly FeedInput[], cases: readonly FeedCase[]): FeedCase[] {
  const has = (...kinds: Role['kind'][]) => inputs.some(({ role }) => kinds.includes(role.kind));
  const base = cases.findLast(({ padding }) => padding === 'none');
  if (!base) return [];
  return [
    ...(has('data', 'past') ? [{ ...base, volume: LOUD }] : []),
    ...(has('mask', 'key-lengths') && base.batch > 1 ? [{ ...base, padding: 'row' as const }] : []),
  ];
}

/** Cases that differ in what the model sees: where everything is fixed there is one. */
function distinct(inputs: readonly FeedInput[], cases: readonly FeedCase[]): FeedCase[] {
  const seen = new Map<string, FeedCase>();
  for (const one of cases) {
    const shapes = [...resolveShapes(inputs, one)].map(([name, shape]) => `${name}:${shape}`);
    const key = `${one.padding} ${one.volume ?? 1} ${one.on ?? true} ${shapes.sort().join(' ')}`;
    if (!seen.has(key)) seen.set(key, one);
  }
  return [...seen.values()];
}

/** `batch 3, length 5, past 6, left padding`. */
export function describeCase({ batch, sequence, past, padding, volume = 1, on = true }: FeedCase): string {
  const parts = [`batch ${batch}`, `length ${sequence}`];
  if (past > 0) parts.push(`past ${past}`);
  if (padding === 'row') parts.push('a row of padding');
  else if (padding !== 'none') parts.push(`${padding} padding`);
  if (volume > 1) parts.push('large numbers');
  if (!on) parts.push('switched off');
  return parts.join(', ');
}
