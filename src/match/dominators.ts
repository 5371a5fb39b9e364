import { dataInputs } from '../analyse';
import type { Node, Value } from '../ir';

/**
 * The values that everything passes through which flows from one value to another. In an order in which nodes stand behind
 * what they read, that is whatever nothing is carried past: one walk, however many values there are.
 * @param path the nodes on the way, in order
 */
export function passedByAll(from: Value, to: Value, path: readonly Node[]): ReadonlySet<Value> {
  const known = new Set([from, ...outputsOf(path)]);
  const wanted = new Set([to]);
  /** Where each value is read last by what leads on. */
  const lastRead = new Map<Value, number>();
  for (const [index, node] of [...path.entries()].reverse()) {
    if (!node.outputs.some((output) => output && wanted.has(output))) continue;
    for (const input of dataInputs(node)) {
      if (!known.has(input)) continue;
      wanted.add(input);
      if (!lastRead.has(input)) lastRead.set(input, index + 1);
    }
  }
  const passed = new Set([from, to]);
  const steps = [[from], ...path.map(({ outputs }) => outputs.flatMap((output) => output ?? []))];
  let carried = 0;
  for (const [place, values] of steps.entries()) {
    const leading = values.filter((value) => wanted.has(value));
    const [only, second] = leading;
    if (only && !second && carried <= place) passed.add(only);
    for (const value of leading) carried = Math.max(carried, lastRead.get(value) ?? 0);
  }
  return passed;
}

function* outputsOf(path: readonly Node[]): Iterable<Value> {
  for (const { outputs } of path) for (const output of outputs) if (output) yield output;
}
