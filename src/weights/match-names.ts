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

function commonEnd(a: readonly string[], b: readonly string[]): number {
  let count = 0;
  while (count < Math.min(a.length, b.length) && a[a.length - 1 - count] === b[b.length - 1 - count]) count++;
  return count;
}
