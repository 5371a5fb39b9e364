/** Reading a model into a graph and writing it back changes nothing. */
import { readFileSync } from 'node:fs';
import { load, save } from '../../src/ir';
import { isSorted } from '../../src/ir/order';
import { encode, type GraphProto, type ModelProto, type NodeProto, readModel } from '../../src/onnx';
import { exportNames, openExport } from '../support/fixtures';
import { modelText, textFile, textModel, thrownBy } from '../support/models';

const bytesOf = (model: ModelProto) => Buffer.from(encode('ModelProto', model).read());

/** Every graph of a message: the main one, and the bodies inside it. */
function* graphsOf(graph: GraphProto): Iterable<GraphProto> {
  yield graph;
  for (const { attribute } of graph.node) for (const { g } of attribute) if (g) yield* graphsOf(g);
}

/** True if no node reads what a later node of its graph gives. */
function inOrder({ node }: GraphProto): boolean {
  const place = new Map(node.flatMap(({ output }, at) => output.map((name) => [name, at] as const)));
  return node.every(({ input }, at) => input.every((name) => (place.get(name) ?? -1) < at));
}

const unsorted = ['llama-past-dy18-sdpa+fp16', 'vit-vis-dy18-sdpa+fp16'];

test.each(exportNames())('%s', (name) => {
  const path = openExport(name).model;
  const file = readModel(path);
  const graphs = file.proto.graph ? [...graphsOf(file.proto.graph)] : [];
  const sorted = graphs.every(inOrder);
  expect({ name, sorted }).toEqual({ name, sorted: !unsorted.includes(name) });
  const model = load(file);
  const saved = save(model);
  if (sorted) expect(bytesOf(saved).equals(readFileSync(path))).toBe(true);
  else expectStablySorted(file.proto.graph?.node ?? [], saved.graph?.node ?? []);
  for (const graph of model.scopes()) expect(isSorted(graph)).toBe(true);
});

/** The same nodes, each behind its producers, and moved only where it stood before one of them. */
function expectStablySorted(before: readonly NodeProto[], after: readonly NodeProto[]): void {
  expect(new Set(after)).toEqual(new Set(before));
  expect(after).toHaveLength(before.length);
  const place = new Map(after.map((node, at) => [node, at]));
  const producer = new Map(before.flatMap((node) => node.output.map((name) => [name, node] as const)));
  const behind = new Map<NodeProto, Set<NodeProto>>();
  const needs = (node: NodeProto): Set<NodeProto> => {
    const known = behind.get(node);
    if (known) return known;
    const all = new Set<NodeProto>();
    behind.set(node, all);
    for (const name of node.input) {
      const source = producer.get(name);
      if (source) for (const each of [source, ...needs(source)]) all.add(each);
    }
    return all;
  };
  const at = (node: NodeProto) => place.get(node) ?? -1;
  for (const node of before) for (const need of needs(node)) expect(at(need)).toBeLessThan(at(node));
  // Two neighbours change places only where the first needs something from behind itself.
  before.forEach((node, index) => {
    const next = before[index + 1];
    if (!next || at(node) < at(next)) return;
    const later = new Set(before.slice(index + 1));
    expect([...needs(node)].some((need) => later.has(need))).toBe(true);
  });
}

describe('nodes that are out of order', () => {
  const order = (text: string) => textModel(text).graph.nodes.map(({ name }) => name);

  test('are put behind their producers, and the others stay where they are', () => {
    expect(
      order(`g (float[2] x) => (float[2] y, float[2] z) {
        ["last"] y = Add (b, a)
        ["free"] z = Neg (x)
        ["b"] b = Relu (a)
        ["a"] a = Abs (x)
      }`),
    ).toEqual(['a', 'b', 'last', 'free']);
  });

  test('also where only a body reads what they give', () => {
    expect(
      order(`g (bool c, float[2] x) => (float[2] y) {
        ["if"] y = If (c) <
          then_branch: graph = t () => (float[2] r) { r = Neg (late) },
          else_branch: graph = e () => (float[2] s) { s = Identity (x) }
        >
        ["late"] late = Abs (x)
      }`),
    ).toEqual(['late', 'if']);
  });

  test('also inside a body', () => {
    const model = textModel(`g (bool c, float[2] x) => (float[2] y) {
      y = If (c) <
        then_branch: graph = t () => (float[2] r) {
          ["second"] r = Neg (first)
          ["first"] first = Abs (x)
        },
        else_branch: graph = e () => (float[2] s) { s = Identity (x) }
      >
    }`);
    const [, body] = [...model.scopes()];
    expect(body?.nodes.map(({ name }) => name)).toEqual(['first', 'second']);
  });

  test('in a circle are no graph', () => {
    const text = `g (float[2] x) => (float[2] y) {
      ["one"] y = Add (x, z)
      ["two"] z = Neg (y)
    }`;
    expect(thrownBy(() => textModel(text))).toMatchObject({ code: 'invalid-graph', exitCode: 2 });
    expect(thrownBy(() => textModel(text)).message).toContain("'one' depends on its own output");
  });

  test('thousands deep need no deep stack', () => {
    const count = 20_000;
    const nodes = Array.from({ length: count }, (_, i) => `["n${i}"] v${i} = Neg (v${i + 1})`);
    const text = `g (float[2] v${count}) => (float[2] v0) {\n${nodes.join('\n')}\n}`;
    expect(order(text).at(0)).toBe(`n${count - 1}`);
  });
});

describe('a graph that cannot be read is refused with the names in it', () => {
  test.each([
    ['a value nobody defines', '["n"] y = Neg (z)', "node 'n' of g refers to 'z', which nothing defines"],
    [
      'two definitions',
      '["n"] y = Neg (x)\n["m"] y = Abs (x)',
      "'y' is defined twice, the second time by node 'm'",
    ],
    ['an input defined again', '["n"] x = Neg (x)', "'x' is defined twice, the second time by node 'n'"],
  ])('%s', (_what, nodes, message) => {
    const error = thrownBy(() => textModel(`g (float[2] x) => (float[2] y) {\n${nodes}\n}`));
    expect(error).toMatchObject({ code: 'invalid-graph', exitCode: 2 });
    expect(error.message).toContain(message);
  });

  test('an output that nothing gives', () => {
    const error = thrownBy(() => textModel('g (float[2] x) => (float[2] y) { z = Neg (x) }'));
    expect(error.message).toContain("an output of g refers to 'y', which nothing defines");
  });
});

describe('scopes', () => {
  const text = `
    <ir_version: 8, opset_import: ["" : 17, "d" : 1]>
    g (bool c, float[2] x) => (float[2] y) <float[2] w = {1, 2}> {
      z = d.twice (x)
      y = If (c) <
        then_branch: graph = t () => (float[2] a) <float[2] k = {3, 4}> { a = Add (z, k) },
        else_branch: graph = e () => (float[2] b) { b = Mul (x, w) }
      >
    }
    <domain: "d", opset_import: ["" : 17]> twice (p) => (q) { q = Add (p, p) }`;

  test('are the main graph, its bodies, and the functions', () => {
    expect([...textModel(text).scopes()].map(({ label }) => label)).toEqual([
      'g',
      't',
      'e',
      'function twice',
    ]);
  });

  test('a body sees what stands around it, and its readers are readers', () => {
    const model = textModel(text);
    const w = model.graph.values.get('w');
    expect(w?.readers.map(({ opType }) => opType)).toEqual(['Mul']);
    expect(model.graph.values.get('z')?.readers[0]?.graph.label).toBe('t');
    expect(model.graph.values.has('k')).toBe(false);
  });

  test('a function does not see the graph around its calls', () => {
    const [, , , body] = [...textModel(text).scopes()];
    expect(body?.find('w')).toBeUndefined();
    expect(body?.find('p')?.isInput).toBe(true);
  });

  test('everything is written back as it was', () => {
    const file = textFile(text);
    expect(save(load(file)) === file.proto).toBe(true);
    expect(modelText(load(file))).toContain('then_branch: graph = t () => (float[2] a)');
  });
});
