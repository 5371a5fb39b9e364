/**
 * Finds the keys of a checkpoint that belong to names of a model. Both are module paths; each side may have leading
 * components that the other lacks (`model.`, `transformer.`, the wrapper of the exporter).
 */
export class KeyIndex {
  /** Keys by what is left of them without a prefix. */
  readonly #byEnd = new Map<string, string[]>();

  constructor(keys: Iterable<string>) {
    for (const key of keys) {
      for (const end of ends(key)) {
        const known = this.#byEnd.get(end);
        if (known) known.push(key);
        else this.#byEnd.set(end, [key]);
      }
    }
  }

  /**
   * The key with the longest common path from the end; what is left over on either side must be a prefix, so it may
   * not number layers.
   * @returns undefined where no key fits, all keys that fit equally well where there are several
   */
  find(name: string): string | readonly string[] | undefined {
    for (const end of ends(name)) {
      const found = this.#byEnd.get(end);
      if (found) return found.length > 1 ? found : found[0];
    }
    return undefined;
  }
}

/** Components that one side may lack; wrappers put one or two in front. */
const MOST_LACKING = 16;

/** What a path can be without a prefix, the longest first: two components or more are left, and no number is taken off. */
function* ends(path: string): Iterable<string> {
  let from = 0;
  for (let taken = 0; taken <= MOST_LACKING; taken++) {
    const dot = path.indexOf('.', from);
    if (dot < 0) return;
    yield path.slice(from);
    if (/\d/.test(path.slice(from, dot))) return;
    from = dot + 1;
  }
}
