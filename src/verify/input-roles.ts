import { Dataflow, Dim, findCandidates, Shapes } from '../analyse';
import type { Model, Value } from '../ir';
import { batchSymbols, type FeedInput, guessRole, isFloat, type Role, SAFE_VOCABULARY } from './feeds';
import { attentionValues } from './flow/attention-values';
import { type Relations, sizeRelations, withOneSize } from './flow/relations';
import { Tracer } from './flow/trace';
import type { InputUses } from './flow/uses';
import type { TensorDescription } from './tensor';

/** What is known of the inputs of a model before it runs. */
export interface KnownInputs {
  /** Axes without a name have one here. */
  readonly inputs: readonly FeedInput[];
  readonly relations: Relations;
}

/** What each input of a model is for: from what the graph does with it, from its name where that says nothing. */
export function inputRoles(model: Model, inputs: readonly TensorDescription[]): FeedInput[] {
  return [...knownInputs(model, inputs).inputs];
}

/**
 * The same for what a rewrite made of a model, of which its own graph says less: what was attention stands in functions.
 * @param given inputs of the rewritten model: caches may have other heads, and there may be one for the warm-up
 */
export function knownAfterRewrite(
  { inputs, relations }: KnownInputs,
  given: readonly TensorDescription[],
): KnownInputs {
  const own = given.map((input): FeedInput => {
    const before = inputs.find(({ name }) => name === input.name);
    if (!before) return { ...input, role: guessRole(input) };
    return {
      ...before,
      shape: input.shape.map((size, axis) => (size === '' ? (before.shape[axis] ?? '') : size)),
    };
  });
  return { inputs: own, relations };
}

/** The same, with what the graph says of the sizes. One walk over the graph for all. */
export function knownInputs(model: Model, given: readonly TensorDescription[]): KnownInputs {
  const inputs = given.map((input, index) => ({
    ...input,
    shape: input.shape.map((size, axis) => (size === '' ? `axis ${axis} of input ${index}` : size)),
  }));
  const shapes = new Shapes(model, undefined, givenShapes(model, inputs));
  const dataflow = new Dataflow(model);
  const attentions = attentionValues(findCandidates(model, dataflow, shapes), dataflow);
  const { uses } = new Tracer(model, shapes, dataflow, attentions);
  const hasPast = [...uses.values()].some(({ past }) => past !== undefined);
  const withRoles = inputs.map((input): FeedInput => {
    const value = model.graph.values.get(input.name);
    const used = value && uses.get(value);
    return { ...input, role: used ? roleOf(input, used, hasPast) : guessRole(input) };
  });
  const symbols = symbolsOf(withRoles);
  const shown = sizeRelations(model.graph, shapes, symbols);
  // Batches of which the graph says nothing are one: then it may say more of the lengths.
  const batches = batchSymbols(withRoles).filter((name) => shown.get(name) === undefined);
  if (batches.length < 2) return { inputs: withRoles, relations: shown };
  const together = withOneSize(shown, batches);
  return { inputs: withRoles, relations: sizeRelations(model.graph, shapes, symbols, together) };
}

function givenShapes(model: Model, inputs: readonly TensorDescription[]): Map<Value, Dim[]> {
  return new Map(
    inputs.flatMap(({ name, shape }) => {
      const value = model.graph.values.get(name);
      const dims = shape.map((size) => (typeof size === 'number' ? Dim.of(size) : Dim.symbol(size)));
      const known = value?.type?.tensorType?.shape !== undefined;
      return value && known ? [[value, dims] as const] : [];
    }),
  );
}

/** In the order in which inputs say most about their sizes: of two that are equal, the one that says more is kept. */
const ORDER: readonly Role['kind'][] = ['ids', 'data', 'past', 'positions'];

function symbolsOf(inputs: readonly FeedInput[]): string[] {
  const rank = ({ role }: FeedInput) => (ORDER.indexOf(role.kind) + ORDER.length + 1) % (ORDER.length + 1);
  const sorted = [...inputs].sort((a, b) => rank(a) - rank(b));
  return [...new Set(sorted.flatMap(({ shape }) => shape.filter((size) => typeof size === 'string')))];
}

/** What the graph shows comes first; the name decides where it shows nothing, or what is fed alike. */
function roleOf(input: TensorDescription, uses: InputUses, hasPast: boolean): Role {
  const guess = guessRole(input);
  if (guess.kind === 'mix') return guess;
  if (isFloat(input.dtype)) return ofFloats(input, uses, guess);
  const [operator] = uses.operators;
  if (operator) return ofOperator(operator, guess);
  if (uses.mask && !uses.index) return maskOf(uses);
  if (uses.condition && !uses.index)
    return { kind: hasPast || guess.kind === 'has-past' ? 'has-past' : 'switch' };
  const isCounted = uses.positions || (uses.multiplied && !uses.features);
  if (isCounted || (guess.kind === 'positions' && !uses.mask)) return positionsOf(uses);
  if (uses.index) return idsOf(uses.index);
  // What is counted are the tokens, where it is nothing else.
  if (uses.counted && guess.kind === 'ids') return { kind: 'mask' };
  if (uses.shape) return { kind: 'constant', value: 1 };
  return guess;
}

function ofFloats({ shape }: TensorDescription, uses: InputUses, guess: Role): Role {
  if (uses.past) {
    const { axis } = uses.past;
    return { kind: 'past', ...(axis === undefined ? {} : { axis }) };
  }
  if (uses.mask) return maskOf(uses);
  if (uses.whole && shape.length >= 4) return { kind: 'past', whole: true };
  // Its name may say so, but nothing is put behind it.
  return guess.kind === 'past' ? { kind: 'data' } : guess;
}

function maskOf({ mask }: InputUses): Role {
  return { kind: 'mask', ...(mask === undefined || mask === 'keep' ? {} : { form: mask }) };
}

function positionsOf({ index }: InputUses): Role {
  const finite = index !== undefined && Number.isFinite(index.count);
  return { kind: 'positions', ...(finite ? { bound: index.lowest + index.count } : {}) };
}

function idsOf({ lowest, count }: NonNullable<InputUses['index']>): Role {
  const vocabulary = Number.isFinite(count) ? count : SAFE_VOCABULARY;
  return { kind: 'ids', vocabulary, ...(lowest > 0 ? { lowest } : {}) };
}

function ofOperator({ input, offset, keys }: InputUses['operators'][number], guess: Role): Role {
  switch (input) {
    case 'total':
      return { kind: 'total-length', offset: 0 - offset };
    case 'total-less-one':
      return { kind: 'total-length', offset: -1 - offset };
    case 'past-length':
      return { kind: 'past-length' };
    case 'place':
      return { kind: 'constant', value: 0 };
    case 'lengths':
      return { kind: 'key-lengths', ...(keys?.value === undefined ? {} : { keys: keys.value }) };
    default:
      return guess;
  }
}
