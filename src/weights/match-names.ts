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

/**
 * The modules of a checkpoint that lie below a module of the model, with the longest common path: `model.layers.0.self_attn`
 * lies below `m.model.layers.0`. Neither what is left over in front nor what lies below may number layers.
 */
export function modulesBelow(parent: string, modules: Iterable<string>): string[] {
  const wanted = parent.split('.');
  let found: string[] = [];
  let length = 1;
  for (const module of modules) {
    const common = commonAbove(wanted, module.split('.'));
    if (common < length) continue;
    if (common > length) found = [];
    length = common;
    found.push(module);
  }
  return found;
}

/** The longest common path of a module and of some module above another one; 0 where a number is left over. */
function commonAbove(parent: readonly string[], module: readonly string[]): number {
  let longest = 0;
  for (let end = module.length - 1; end > 0 && !isNumbered(module.slice(end)); end--) {
    const above = module.slice(0, end);
    const common = commonEnd(parent, above);
    const left = [...parent.slice(0, parent.length - common), ...above.slice(0, end - common)];
    // That both have a layer 0 says nothing: what is numbered must be called the same.
    const enough = common > 1 || left.length === 0 || !isNumbered(above.slice(-1));
    if (enough && !isNumbered(left)) longest = Math.max(longest, common);
  }
  return longest;
}

function isNumbered(parts: readonly string[]): boolean {
  return parts.some((part) => /\d/.test(part));
}

function commonEnd(a: readonly string[], b: readonly string[]): number {
  let count = 0;
  while (count < Math.min(a.length, b.length) && a[a.length - 1 - count] === b[b.length - 1 - count]) count++;
  return count;
}
