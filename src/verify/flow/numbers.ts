/**
 * What becomes of the numbers of an input on their way through a graph, element by element: a few numbers are sent
 * through, and from what arrives one sees which of them hide a key, and which are an index into a table.
 */

/** What is sent through: a number that hides when it is added, 0, 1, the next ones, and one that is beyond any table. */
export const PROBES = [-10_000, 0, 1, 2, 3, 1_000_000] as const;

/** What arrives for each probe. NaN: it depends on something else. */
export type Numbers = readonly number[];

/** An operand: what arrives at it, a number that is always the same, or `undefined` where nothing is known. */
export type Operand = Numbers | number | undefined;

const [HIDING, ZERO, ONE] = [0, 1, 2];
/** What nothing is known of but that it comes from the input. */
export const OPEN: Numbers = PROBES.map(() => Number.NaN);

/** Below this a score is hidden: `-100`, `-10000` and the smallest float are what exporters write. */
const HIDDEN = -50;

export type MaskForm = 'keep' | 'hide' | 'additive';

/** How the numbers that arrive at scores hide keys; undefined where they do not. */
export function maskForm(scores: Numbers): MaskForm | undefined {
  return formOf(scores, (value) => value <= HIDDEN);
}

/** The same at an attention map, which a mask multiplies. */
export function mapMaskForm(map: Numbers): MaskForm | undefined {
  const form = formOf(map, (value) => value === 0);
  return form === 'additive' ? undefined : form;
}

function formOf(numbers: Numbers, hides: (value: number) => boolean): MaskForm | undefined {
  const hidden = (at: number) => hides(numbers[at] ?? Number.NaN);
  if (hidden(ZERO) !== hidden(ONE)) return hidden(ZERO) ? 'keep' : 'hide';
  return !hidden(ZERO) && hidden(HIDING) ? 'additive' : undefined;
}

/** The numbers from `lowest` on, fewer than `count` in all, that are indices into a table. */
export interface IndexRange {
  readonly lowest: number;
  /** Infinity where every number is one, as behind Clip or Mod. */
  readonly count: number;
}

/** Which numbers an input may hold so that what arrives is an index into `rows` rows; undefined where that is not known. */
export function indexRange(indices: Numbers, rows: number): IndexRange | undefined {
  const [, zero, one, two, three, huge] = indices;
  if (zero === undefined || one === undefined || two === undefined || three === undefined) return undefined;
  const fits = (value: number | undefined) => value !== undefined && value >= -rows && value < rows;
  if (![zero, one, two, three].every(Number.isFinite)) return undefined;
  const step = one - zero;
  if (step > 0 && two - one === step && three - two === step) {
    // Rounded towards what fits; a table may be read from its end, but nobody means that.
    const lowest = Math.max(0, Math.ceil(-zero / step));
    const count = Math.floor((rows - 1 - zero) / step) + 1 - lowest;
    return fits(huge)
      ? { lowest: 0, count: Number.POSITIVE_INFINITY }
      : { lowest, count: Math.max(count, 1) };
  }
  const first = [zero, one, two, three].findIndex((value) => !fits(value));
  if (first === 0) return undefined;
  return { lowest: 0, count: first > 0 ? first : fits(huge) ? Number.POSITIVE_INFINITY : 4 };
}

/** Numbers by which an offset is added to the probes; undefined where something else is done to them. */
export function offsetOf(numbers: Numbers): number | undefined {
  const [, zero, one, two] = numbers;
  if (zero === undefined || one === undefined || two === undefined) return undefined;
  return one - zero === 1 && two - one === 1 ? zero : undefined;
}

type Elementwise = (a: number, b: number) => number;

const truth = (value: boolean): number => (value ? 1 : 0);

const COMPARISONS: Record<string, Elementwise> = {
  Equal: (a, b) => truth(a === b),
  Greater: (a, b) => truth(a > b),
  GreaterOrEqual: (a, b) => truth(a >= b),
  Less: (a, b) => truth(a < b),
  LessOrEqual: (a, b) => truth(a <= b),
};

/** Operators whose other operand, where nothing is known of it, is taken for the one that changes nothing. */
const NEUTRAL: Record<string, Elementwise> = {
  Add: (a, b) => a + b,
  Sum: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Min: Math.min,
  Max: Math.max,
  And: (a, b) => truth(a !== 0 && b !== 0),
  Or: (a, b) => truth(a !== 0 || b !== 0),
};

/** What is known of a result where one operand is not known: 0 times anything is 0. */
const ABSORBING: Record<string, number> = { And: 0, Mul: 0, Or: 1 };

const UNARY: Record<string, (value: number) => number> = {
  Not: (value) => truth(value === 0),
  Neg: (value) => -value,
  Abs: Math.abs,
  Sign: Math.sign,
  Floor: Math.floor,
  Ceil: Math.ceil,
  Round: Math.round,
  Relu: (value) => Math.max(value, 0),
  Log: Math.log,
  Exp: Math.exp,
  Sqrt: Math.sqrt,
  Reciprocal: (value) => 1 / value,
  IsNaN: () => Number.NaN,
  IsInf: (value) => truth(!Number.isFinite(value)),
};

/** Whether `elementwise` knows an operator. */
export function isElementwise(opType: string): boolean {
  return (
    opType in NEUTRAL || opType in UNARY || opType in COMPARISONS || ['Clip', 'Mod', 'Where'].includes(opType)
  );
}

/** True for operators that ask which of two numbers is larger. */
export function ordersNumbers(opType: string): boolean {
  return opType in COMPARISONS && opType !== 'Equal';
}

/** What an operator of the standard set makes of its operands, of which at least one comes from the input. */
export function elementwise(opType: string, operands: readonly Operand[]): Numbers {
  return PROBES.map((_, at) => {
    if (opType === 'Where') return chosen(operands, at);
    const [first = Number.NaN, ...others] = operands.map((operand) => numberAt(operand, at));
    const unary = UNARY[opType];
    if (unary) return Number.isNaN(first) ? first : unary(first);
    if (opType === 'Clip') return clipped(first, others);
    return operands
      .slice(1)
      .reduce<number>(
        (all, operand, index) =>
          binary(opType, all, numberAt(operand, at), index === 0 ? operands[0] : all, operand),
        first,
      );
  });
}

function binary(opType: string, a: number, b: number, from: Operand, other: Operand): number {
  const compare = COMPARISONS[opType];
  if (compare) return Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : compare(a, b);
  if (opType === 'Mod') return b === 0 || Number.isNaN(a + b) ? Number.NaN : ((a % b) + b) % b;
  const operate = NEUTRAL[opType];
  if (!operate) return Number.NaN;
  if (other === undefined) return a;
  if (from === undefined) return opType === 'Sub' ? -b : opType === 'Div' ? Number.NaN : b;
  if (a === ABSORBING[opType] || b === ABSORBING[opType]) return ABSORBING[opType] ?? Number.NaN;
  return Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : operate(a, b);
}

function clipped(value: number, [low = Number.NaN, high = Number.NaN]: readonly number[]): number {
  const above = value < low ? low : value;
  return above > high ? high : above;
}

function chosen([condition, yes, no]: readonly Operand[], at: number): number {
  const holds = numberAt(condition, at);
  if (!Number.isNaN(holds)) return numberAt(holds ? yes : no, at);
  // Something else decides: what comes from the input is what is asked about.
  if (typeof yes === 'object') return numberAt(yes, at);
  return typeof no === 'object' ? numberAt(no, at) : Number.NaN;
}

function numberAt(operand: Operand, at: number): number {
  if (operand === undefined) return Number.NaN;
  return typeof operand === 'number' ? operand : (operand[at] ?? Number.NaN);
}
