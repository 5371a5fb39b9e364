import type { Journal } from './journal';

/** Mints names that no value, node, parameter or function of a model has yet. */
export class Names {
  readonly #taken = new Set<string>();

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
    let name = wish;
    for (let n = 1; this.#taken.has(name); n++) name = `${wish}_${n}`;
    this.reserve(name);
    return name;
  }
}
