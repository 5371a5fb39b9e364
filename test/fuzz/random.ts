/** Random choices that are the same on every machine, for a seed and an iteration. */
export class Random {
  #state: number;

  constructor(seed: number, iteration: number) {
    this.#state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(iteration + 1, 0xc2b2ae35);
    for (let i = 0; i < 4; i++) this.next();
  }

  /** From 0 to 1, 1 not among them: mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** 0 to count - 1. */
  int(count: number): number {
    return Math.floor(this.next() * count);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** One of a list; undefined of an empty one. */
  maybe<T>(list: readonly T[]): T | undefined {
    return list[this.int(list.length)];
  }

  pick<T>(list: readonly [T, ...T[]]): T {
    return list[this.int(list.length)] as T;
  }

  shuffled<T>(list: readonly T[]): T[] {
    const result = [...list];
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      [result[i], result[j]] = [result[j] as T, result[i] as T];
    }
    return result;
  }
}
