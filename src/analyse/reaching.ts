import type { Value } from '../ir';

/**
 * Whether something can be reached from a value. What is found out about one value serves all that lead to it: whoever
 * asks of every value of a graph looks at each of them once.
 */
export class Reaching {
  readonly #known = new Map<Value, boolean>();

  /** @param next whether a value is an end, that is wanted or not; else the values to go on with */
  constructor(private readonly next: (value: Value) => boolean | readonly Value[]) {}

  from(start: Value): boolean {
    const entered = new Set<Value>();
    const open = [start];
    for (let value = open.at(-1); value; value = open.at(-1)) {
      if (this.#known.has(value)) {
        open.pop();
        continue;
      }
      const next = this.next(value);
      if (typeof next === 'boolean') {
        this.#known.set(value, next);
      } else if (entered.has(value)) {
        this.#known.set(
          value,
          next.some((each) => this.#known.get(each) === true),
        );
      } else {
        entered.add(value);
        for (const each of next) if (!this.#known.has(each)) open.push(each);
      }
    }
    return this.#known.get(start) === true;
  }
}
