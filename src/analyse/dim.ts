import { createHash } from 'node:crypto';
import { LONGEST_TERM, MOST_FACTORS, MOST_TERMS } from './limits';

/**
 * A dimension: a polynomial with integer coefficients over symbols (`batch`, `sequence`, ...). Shape arithmetic of
 * real exports adds, multiplies and divides dimensions; a polynomial keeps what they have in common. One
 * that grows beyond the limits becomes a dimension nothing is known of.
 */
export class Dim {
  static readonly #numbers = new Map<number, Dim>();
  static #fresh = 0;

  /** @param terms coefficient by monomial; a monomial is its symbols, sorted and joined by `*`; '' is the constant */
  private constructor(private readonly terms: ReadonlyMap<string, number>) {}

  static of(value: number): Dim {
    let dim = Dim.#numbers.get(value);
    if (!dim) {
      dim = new Dim(value === 0 ? new Map() : new Map([['', value]]));
      Dim.#numbers.set(value, dim);
    }
    return dim;
  }

  static symbol(name: string): Dim {
    return new Dim(new Map([[short(name.replaceAll('*', '·')), 1]]));
  }

  /** A dimension nothing is known of. */
  static unknown(): Dim {
    return Dim.symbol(`?${Dim.#fresh++}`);
  }

  static product(dims: readonly Dim[]): Dim {
    return dims.reduce((all, dim) => all.times(dim), Dim.of(1));
  }

  static #from(terms: Map<string, number>): Dim {
    for (const [key, coefficient] of terms) if (coefficient === 0) terms.delete(key);
    const constant = terms.get('');
    if (terms.size === 0) return Dim.of(0);
    if (terms.size === 1 && constant !== undefined) return Dim.of(constant);
    return terms.size > MOST_TERMS || ![...terms.values()].every(isExact) ? Dim.unknown() : new Dim(terms);
  }

  /** The number, if no symbol is involved. */
  get value(): number | undefined {
    if (this.terms.size === 0) return 0;
    return this.terms.size === 1 ? this.terms.get('') : undefined;
  }

  /** True if it is one symbol and nothing else. */
  get isSymbol(): boolean {
    if (this.terms.size !== 1) return false;
    const [entry] = this.terms;
    return entry !== undefined && entry[1] === 1 && entry[0] !== '' && !entry[0].includes('*');
  }

  /** True for one symbol that the model itself gives a dimension: not an unknown one, not a rounded quotient. */
  get isName(): boolean {
    return this.isSymbol && !this.isUnknown && !this.toString().startsWith(ROUNDED);
  }

  /** True if it is, or contains, a dimension nothing is known of. */
  get isUnknown(): boolean {
    return [...this.terms.keys()].some((key) => key.includes('?'));
  }

  /** The one symbol in a product of a number and a symbol. */
  get onlySymbol(): Dim | undefined {
    const [entry] = this.terms;
    if (this.terms.size !== 1 || !entry) return undefined;
    const [name, ...more] = symbols(entry[0]);
    return name !== undefined && more.length === 0 ? Dim.symbol(name) : undefined;
  }

  plus(other: Dim): Dim {
    const terms = new Map(this.terms);
    for (const [key, coefficient] of other.terms) terms.set(key, (terms.get(key) ?? 0) + coefficient);
    return Dim.#from(terms);
  }

  minus(other: Dim): Dim {
    return this.plus(other.times(Dim.of(-1)));
  }

  times(other: Dim): Dim {
    const terms = new Map<string, number>();
    if (this.terms.size * other.terms.size > MOST_PRODUCTS) return Dim.unknown();
    for (const [a, x] of this.terms) {
      for (const [b, y] of other.terms) {
        const factors = [...symbols(a), ...symbols(b)];
        if (factors.length > MOST_FACTORS || a.length + b.length > LONGEST_TERM) return Dim.unknown();
        const key = factors.sort().join('*');
        terms.set(key, (terms.get(key) ?? 0) + x * y);
      }
    }
    return Dim.#from(terms);
  }

  /** The quotient where the division leaves no remainder whatever the symbols stand for; else undefined. */
  dividedBy(divisor: Dim): Dim | undefined {
    if (this.equals(divisor)) return divisor.value === 0 ? undefined : Dim.of(1);
    if (divisor.terms.size !== 1) return this.#dividedBySum(divisor);
    const [entry] = divisor.terms;
    if (!entry) return undefined;
    const terms = new Map<string, number>();
    for (const [key, coefficient] of this.terms) {
      if (coefficient % entry[1] !== 0) return undefined;
      const rest = symbols(key);
      for (const symbol of symbols(entry[0])) {
        const at = rest.indexOf(symbol);
        if (at < 0) return undefined;
        rest.splice(at, 1);
      }
      terms.set(rest.join('*'), coefficient / entry[1]);
    }
    return Dim.#from(terms);
  }

  /**
   * The quotient, rounded down. What the divisor, a number, divides is taken out of the rounding, so that sizes that
   * are equal look equal: floor((2 n + 3) / 2) is n + 1. Symbols are sizes, so at least 1; where the dividend may be
   * negative nevertheless, rounding down and towards zero (as the operator Div does) would differ, and nothing is
   * taken out.
   */
  flooredBy(divisor: Dim): Dim {
    const exact = this.dividedBy(divisor);
    const by = divisor.value;
    if (exact) return exact;
    if (by === undefined || by <= 0 || !this.#isNotNegative()) return rounded(this, divisor);
    const [whole, rest] = [new Map<string, number>(), new Map<string, number>()];
    for (const [key, coefficient] of this.terms) {
      const quotient = Math.floor(coefficient / by);
      const taken = key === '' || coefficient % by === 0 ? quotient : 0;
      whole.set(key, taken);
      rest.set(key, coefficient - taken * by);
    }
    const left = Dim.#from(rest);
    const part = left.value === undefined ? rounded(left, divisor) : Dim.of(Math.floor(left.value / by));
    return Dim.#from(whole).plus(part);
  }

  #isNotNegative(): boolean {
    const constant = this.terms.get('') ?? 0;
    const others = [...this.terms].filter(([key]) => key !== '').map(([, coefficient]) => coefficient);
    return (
      others.every((coefficient) => coefficient > 0) &&
      others.reduce((all, coefficient) => all + coefficient, constant) >= 0
    );
  }

  /** Division by several terms, where the quotient is a single one. */
  #dividedBySum(divisor: Dim): Dim | undefined {
    const [first] = divisor.terms;
    if (!first) return undefined;
    const leading = new Dim(new Map([first]));
    for (const term of this.terms) {
      const quotient = new Dim(new Map([term])).dividedBy(leading);
      if (quotient?.times(divisor).equals(this)) return quotient;
    }
    return undefined;
  }

  /** This polynomial with one symbol replaced by another polynomial. */
  substitute(symbol: string, by: Dim): Dim {
    let result = Dim.of(0);
    for (const [key, coefficient] of this.terms) {
      const term = symbols(key).map((name) => (name === symbol ? by : Dim.symbol(name)));
      result = result.plus(Dim.product(term).times(Dim.of(coefficient)));
    }
    return result;
  }

  /** The symbols in it, each once. */
  get names(): string[] {
    return [...new Set([...this.terms.keys()].flatMap(symbols))];
  }

  /** What a symbol must be for this to be 0; undefined where it stands in a product, or not once and alone. */
  solvedFor(symbol: string): Dim | undefined {
    const coefficient = this.terms.get(symbol);
    const elsewhere = [...this.terms.keys()].some((key) => key !== symbol && symbols(key).includes(symbol));
    if (elsewhere || (coefficient !== 1 && coefficient !== -1)) return undefined;
    const rest = new Map(this.terms);
    rest.delete(symbol);
    return Dim.#from(rest).times(Dim.of(-coefficient));
  }

  /** The same without the number and the symbols that divide all terms: 32 b s - 64 s becomes b - 2. */
  get withoutCommonFactor(): Dim {
    const [first] = this.terms.keys();
    let result: Dim = this;
    for (const name of first === undefined ? [] : symbols(first))
      result = result.dividedBy(Dim.symbol(name)) ?? result;
    const divisor = [...result.terms.values()].map(Math.abs).reduce(greatestCommon, 0);
    return divisor > 1 ? (result.dividedBy(Dim.of(divisor)) ?? result) : result;
  }

  /** The number for given sizes of the symbols; undefined where one has none. */
  evaluated(sizes: ReadonlyMap<string, number>): number | undefined {
    let result = 0;
    for (const [key, coefficient] of this.terms) {
      let term = coefficient;
      for (const name of symbols(key)) term *= sizes.get(name) ?? Number.NaN;
      result += term;
    }
    return Number.isNaN(result) ? undefined : result;
  }

  equals(other: Dim): boolean {
    if (this === other) return true;
    if (this.terms.size !== other.terms.size) return false;
    for (const [key, coefficient] of this.terms) if (other.terms.get(key) !== coefficient) return false;
    return true;
  }

  toString(): string {
    if (this.terms.size === 0) return '0';
    return [...this.terms]
      .sort(([a], [b]) => Number(a === '') - Number(b === '') || (a < b ? -1 : 1))
      .map(([key, coefficient]) =>
        key === '' ? `${coefficient}` : coefficient === 1 ? key : `${coefficient}*${key}`,
      )
      .join(' + ');
  }
}

function greatestCommon(a: number, b: number): number {
  return b === 0 ? a : greatestCommon(b, a % b);
}

/** How a quotient that is rounded down begins, as a symbol. */
const ROUNDED = 'floor(';

function rounded(dividend: Dim, divisor: Dim): Dim {
  const name = `${ROUNDED}(${dividend})/(${divisor}))`;
  return name.length > LONGEST_TERM ? Dim.unknown() : Dim.symbol(name);
}

/** What two dimensions of many terms come to when they are multiplied. */
const MOST_PRODUCTS = 4 * MOST_TERMS;

/** Letters of a symbol that are kept. */
const LONGEST_SYMBOL = 256;

/** A long name with its end replaced by a hash, so that names that differ still do. */
function short(name: string): string {
  if (name.length <= LONGEST_SYMBOL || name.startsWith(ROUNDED)) return name;
  const hash = createHash('sha256').update(name, 'utf16le').digest('hex').slice(0, 32);
  return `${name.slice(0, LONGEST_SYMBOL - hash.length)}…${hash}`;
}

/** Coefficients of shape arithmetic are whole numbers, and counted exactly; those of scales may be fractions. */
function isExact(coefficient: number): boolean {
  return Math.abs(coefficient) <= Number.MAX_SAFE_INTEGER;
}

function symbols(monomial: string): string[] {
  return monomial === '' ? [] : monomial.split('*');
}

/** The shape two shapes broadcast to (ONNX's multidirectional broadcasting). */
export function broadcast(a: readonly Dim[], b: readonly Dim[]): Dim[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, index) => {
    const x = a[a.length - rank + index];
    const y = b[b.length - rank + index];
    if (!x || x.value === 1) return y ?? Dim.of(1);
    if (!y || y.value === 1) return x;
    if (y.value !== undefined) return y;
    return x.isUnknown ? y : x;
  });
}
