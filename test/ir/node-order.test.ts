/** Where nodes stand is known without looking for them, whatever is inserted, taken out, and taken back. */

import type { Graph, Node } from '../../src/ir';
import type { NodeProto } from '../../src/onnx';
import { textModel } from '../support/models';
import fc from '../support/properties';

function negation(output: string): NodeProto {
  return {
    opType: 'Neg',
    input: ['x'],
    output: [output],
    attribute: [],
    metadataProps: [],
  };
}

function expectOrder(graph: Graph, gone: readonly Node[]): void {
  expect(graph.nodes.map((node) => graph.indexOf(node))).toEqual(graph.nodes.map((_, index) => index));
  expect(gone.filter((node) => !graph.nodes.includes(node)).map((node) => graph.indexOf(node))).toEqual(
    gone.filter((node) => !graph.nodes.includes(node)).map(() => -1),
  );
  expect(graph.sorted([...graph.nodes].reverse())).toEqual(graph.nodes);
}

interface Edit {
  readonly kind: 'insert' | 'remove' | 'fail';
  readonly at: number;
  readonly count: number;
}

const edits: fc.Arbitrary<Edit[]> = fc.array(
  fc.record({
    kind: fc.constantFrom('insert', 'insert', 'remove', 'fail'),
    at: fc.nat({ max: 30 }),
    count: fc.integer({ min: 1, max: 3 }),
  }),
  { maxLength: 40 },
);

test('random insertions and removals, some of which are taken back', () => {
  fc.assert(
    fc.property(edits, (chosen) => {
      const model = textModel('g (float[2] x) => (float[2] y) { a = Neg (x)\n b = Neg (x)\n y = Neg (x) }');
      const { graph, journal } = model;
      const [x] = graph.inputs;
      const gone: Node[] = [];
      let names = 0;
      const insert = (at: number, count: number) =>
        graph.insertBefore(
          graph.nodes[at % (graph.nodes.length + 1)],
          Array.from({ length: count }, () => ({
            proto: negation(`n${names++}`),
            inputs: [x],
          })),
        );
      const remove = (at: number) => {
        const node = graph.nodes[at % Math.max(1, graph.nodes.length)];
        if (!node || node.outputs[0]?.isOutput) return;
        graph.remove(node);
        gone.push(node);
      };
      for (const { kind, at, count } of chosen) {
        if (kind === 'insert') insert(at, count);
        else if (kind === 'remove') remove(at);
        else {
          const before = [...graph.nodes];
          expect(() =>
            journal.transaction(() => {
              gone.push(...insert(at, count));
              remove(at + 1);
              gone.push(...insert(at, 1));
              throw new Error('taken back');
            }),
          ).toThrow('taken back');
          expect(graph.nodes).toEqual(before);
        }
        expectOrder(graph, gone);
      }
    }),
    { numRuns: 100 },
  );
});

test('more nodes before one than there is room for', () => {
  const { graph } = textModel('g (float[2] x) => (float[2] y) { a = Neg (x)\n y = Neg (x) }');
  const [x] = graph.inputs;
  expectOrder(graph, []);
  const made: Node[] = [];
  for (let n = 0; n < 1100; n++) {
    // always right behind the first: the room there is halved each time
    const [node] = graph.insertBefore(graph.nodes[1], [{ proto: negation(`n${n}`), inputs: [x] }]);
    if (node) made.unshift(node);
  }
  expect(graph.nodes.slice(1, -1)).toEqual(made);
  expectOrder(graph, []);
});
