/** Mints names that no value, node, parameter or function of a model has yet. */
export class Names {
  readonly #taken = new Set<string>();

  /** Marks a name as taken. */
  reserve(name: string): void {
    this.#taken.add(name);
  }

  has(name: string): boolean {
    return this.#taken.has(name);
  }

  /** The wished name if it is free, else the wished name with the lowest free number behind it. */
  mint(wish: string): string {
    let name = wish;
    for (let n = 1; this.#taken.has(name); n++) name = `${wish}_${n}`;
    this.#taken.add(name);
    return name;
  }
}
