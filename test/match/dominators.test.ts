/** What everything flows through, compared with the definition: without that value, nothing arrives. */
import * as fc from 'fast-check';
import { ancestors, dataInputs, descendants } from '../../src/analyse';
import type { Node, Value } from '../../src/ir';
import { passedByAll } from '../../src/match/dominators';
import { textModel } from '../support/models';

/** Nodes that each read one or two of the values before them; some have two outputs. */
function graphOf(reads: readonly (readonly [number, number])[]) {
  const names = ['x'];
  const nodes = reads.map(([a, b], at) => {
    const [first, second] = [names[a % names.length], names[b % names.length]];
    names.push(`v${at}`);
    if (at % 3 !== 2) return `v${at} = Add (${first}, ${second})`;
    names.push(`w${at}`);
    return `v${at}, w${at} = Split <axis = 0, num_outputs = 2> (${first})`;
  });
  const last = names.at(-1);
  const { graph } = textModel(
    `<ir_version: 8, opset_import: ["" : 18]> g (float[4] x) => (float[N] ${last}) { ${nodes.join('\n')} }`,
  );
  const value = (name: string): Value => {
    const found = graph.values.get(name);
    if (!found) throw new Error(name);
    return found;
  };
  const [from, to] = [value('x'), value(String(last))];
  return { from, to, path: descendants([from], ancestors(to, new Set([from]))) };
}

function arrivesWithout(value: Value, from: Value, to: Value, path: readonly Node[]): boolean {
  const reached = new Set<Value>([from]);
  for (const node of path) {
    if (!dataInputs(node).some((input) => reached.has(input))) continue;
    for (const output of node.outputs) if (output && output !== value) reached.add(output);
  }
  return reached.has(to);
}

test('the values without which nothing arrives', () => {
  const reads = fc.array(fc.tuple(fc.nat(30), fc.nat(30)), { minLength: 1, maxLength: 14 });
  fc.assert(
    fc.property(reads, (pairs) => {
      const { from, to, path } = graphOf(pairs);
      const all = [from, ...path.flatMap(({ outputs }) => outputs.flatMap((output) => output ?? []))];
      const wanted = all.filter(
        (value) => value === from || value === to || !arrivesWithout(value, from, to, path),
      );
      const passed = passedByAll(from, to, path);
      expect(all.filter((value) => passed.has(value)).map(({ name }) => name)).toEqual(
        wanted.map(({ name }) => name),
      );
    }),
    { numRuns: 300 },
  );
});
