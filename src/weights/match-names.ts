/**
 * Finds the keys of a checkpoint that belong to names of a model. Both are module paths; each side may have leading
 * components that the other lacks (`model.`, `transformer.`, the wrapper of the exporter).
 */
export class KeyIndex {
  readonly #byLast = new Map<string, string[][]>();

  constructor(keys: Iterable<string>) {
    for (const key of keys) {
      const parts = key.split('.');
      const last = parts.at(-1) ?? '';
      this.#byLast.set(last, [...(this.#byLast.get(last) ?? []), parts]);
    }
  }

  /**
   * The key with the longest common path from the end; what is left over on either side must be a prefix, so it may
   * not number layers.
   * @returns undefined where no key fits, all keys that fit equally well where there are several
   */
  find(name: string): string | readonly string[] | undefined {
    const wanted = name.split('.');
    let best: string[] = [];
    let length = 0;
    for (const parts of this.#byLast.get(wanted.at(-1) ?? '') ?? []) {
      const common = commonEnd(wanted, parts);
      const left = [...wanted.slice(0, -common), ...parts.slice(0, -common)];
      if (left.some((part) => /\d/.test(part)) || common < length || common < 2) continue;
      if (common > length) best = [];
      length = common;
      best.push(parts.join('.'));
    }
    return best.length > 1 ? best : best[0];
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
