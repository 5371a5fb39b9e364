import type { Journal } from './journal';

/** Mints names that no value, node, parameter or function of a model has yet. */
export class Names {
  readonly #taken = new Set<string>();
  /** The last number that was given to a name, so that nobody counts from the beginning. */
  readonly #last = new Map<string, number>();

  constructor(private readonly journal: Journal) {}

  /** Marks a name as taken; until the transaction around fails, if one is open. */
  reserve(name: string): void {
    if (this.#taken.has(name)) return;
    this.#taken.add(name);
    this.journal.record(() => {
      this.#taken.delete(name);
    });
  }

  has(name: string): boolean {
    return this.#taken.has(name);
  }

  /** The wished name if it is free, else the wished name with the lowest free number behind it. */
  mint(wish: string): string {
    if (!this.#taken.has(wish)) {
      this.reserve(wish);
      return wish;
    }
    const before = this.#last.get(wish) ?? 0;
    let n = before + 1;
    while (this.#taken.has(`${wish}_${n}`)) n++;
    this.#last.set(wish, n);
    this.journal.record(() => {
      this.#last.set(wish, before);
    });
    const name = `${wish}_${n}`;
    this.reserve(name);
    return name;
  }
}
