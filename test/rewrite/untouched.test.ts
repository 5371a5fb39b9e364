/** SPEC section 2: everything that diffx does not rewrite comes out byte for byte. */

import { ancestors } from '../../src/analyse';
import { rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { projectedSides } from '../../src/attention/site';
import { load } from '../../src/ir';
import { parseText } from '../../src/ir/text';
import {
  derive,
  encode,
  type GraphProto,
  type MessageName,
  type Messages,
  type NodeProto,
  parseModel,
  readModel,
} from '../../src/onnx';
import { field } from '../onnx/build';
import { architectures, exportsOf } from '../support/exports';
import { openExport, randomFill } from '../support/fixtures';
import { graphOf, modelPath } from '../support/models';

/** The bytes of a message as a string that compares fast. */
function bytes<N extends MessageName>(type: N, message: Messages[N]): string {
  return Buffer.from(encode(type, message).read()).toString('latin1');
}

const nodesOf = (graph: GraphProto) => graph.node.map((node) => bytes('NodeProto', node));
const initializersOf = (graph: GraphProto) => graph.initializer.map((tensor) => bytes('TensorProto', tensor));
const infosOf = (infos: GraphProto['input']) => infos.map((info) => bytes('ValueInfoProto', info));

/** Of `list`, what is also in `other`, in its order. */
function common(list: readonly string[], other: readonly string[]): string[] {
  const there = new Set(other);
  return list.filter((each) => there.has(each));
}

// Side files are written anew, with other offsets: their bytes are the subject of test/onnx.
const names = architectures
  .flatMap(({ name }) => exportsOf(name))
  .filter((name) => !name.endsWith('+external'));

describe.each(names)('%s', (name) => {
  const { model: path } = openExport(name);
  const source = readModel(path);
  const before = graphOf(source.proto);

  test.each([{}, { emit: 'inline', sublayerNorm: false }, { splitHeads: true }])('%j', (settings) => {
    const output = rewriteModel(path, settings);
    const after = graphOf(parseModel(rewrittenBytes(output).read()).proto);

    // inputs and outputs: names, types, order, and whatever else is said of them
    expect(infosOf(after.input)).toEqual(infosOf(before.input));
    expect(infosOf(after.output)).toEqual(infosOf(before.output));

    // constants: all of the source's are there, as they were and in their order
    const constants = initializersOf(before);
    expect(common(initializersOf(after), constants)).toEqual(constants);

    // nodes: what is still there is as it was, in its order (float16 converters leave another, see test/ir)
    const original = load(source).graph;
    const old = original.nodes.map(({ proto }) => bytes('NodeProto', proto));
    const now = nodesOf(after);
    expect(common(now, old)).toEqual(common(old, now));

    // and what is no longer there computed the attention, from its queries and keys to its output
    const stop = new Set(
      output.found.sites
        .flatMap((site) => projectedSides(site).map(({ projection }) => projection.output.name))
        .flatMap((each) => original.values.get(each) ?? []),
    );
    const within = new Set(
      output.layers.flatMap(({ output: end }) => {
        const value = original.values.get(end);
        return value ? ancestors(value, stop).map(({ proto }) => bytes('NodeProto', proto)) : [];
      }),
    );
    const there = new Set(now);
    const gone = old.filter((node) => !there.has(node));
    expect(gone.filter((node) => !within.has(node))).toEqual([]);
    expect(gone.length).toBeGreaterThan(0);
  });
});

test.each([
  // scores are computed by the function
  ['bert-enc-dy18-eager', {}, ['MatMul', 'Mul', 'Add', 'Softmax', 'MatMul']],
  // probabilities are handed to it
  ['bert-enc-dy18-sdpa', {}, ['MatMul']],
  ['bert-enc-dy18-eager', { splitHeads: true }, ['MatMul']],
  // the operator stays, under another name of its output
  ['bert-enc-dy23-sdpa', {}, ['Attention']],
])('%s, %j: what is replaced in each layer', (name, settings, replaced) => {
  const { model } = openExport(name);
  const kept = new Set(
    nodesOf(graphOf(parseModel(rewrittenBytes(rewriteModel(model, settings)).read()).proto)),
  );
  const gone = graphOf(readModel(model).proto).node.filter((node) => !kept.has(bytes('NodeProto', node)));
  expect(gone.map(({ opType }) => opType)).toEqual([...replaced, ...replaced]);
});

/** A message with a field that no schema knows, wrapped into the field of the message around it. */
function marked<N extends MessageName>(id: number, type: N, message: Messages[N], mark: string): Uint8Array {
  return field(id, encode(type, message).read(), field(900, mark));
}

test('fields that no schema knows, doc strings and metadata survive', () => {
  const text = `
    <ir_version: 8, opset_import: ["" : 17], producer_name: "me", metadata_props: ["mine": "kept"]>
    g (float[B, S, 8] x) => (float[B, S, 8] y) <
      float[8, 8] q = {...}, float[8, 8] k = {...}, float[8, 8] v = {...}, int64[4] split = {0, 0, 2, 4}, int64[3] merged = {0, 0, 8}
    > {
      [q_proj] Q = MatMul (x, q)
      [k_proj] K = MatMul (x, k)
      [v_proj] V = MatMul (x, v)
      [q_split] Q4 = Reshape (Q, split)
      [k_split] K4 = Reshape (K, split)
      [v_split] V4 = Reshape (V, split)
      [q_heads] QH = Transpose <perm = [0, 2, 1, 3]> (Q4)
      [k_heads] KH = Transpose <perm = [0, 2, 3, 1]> (K4)
      [v_heads] VH = Transpose <perm = [0, 2, 1, 3]> (V4)
      [scores] S = MatMul (QH, KH)
      [softmax] A = Softmax <axis = -1> (S)
      [attended] C = MatMul (A, VH)
      [heads] CT = Transpose <perm = [0, 2, 1, 3]> (C)
      [merge] y = Reshape (CT, merged)
    }`;
  const { graph, ...model } = parseText(text, { fill: randomFill() });
  if (!graph) throw new Error('no graph');
  const noted = (node: NodeProto): NodeProto => ({
    ...node,
    docString: `doc of ${node.name}`,
    metadataProps: [{ key: 'scope', value: node.name ?? '' }],
  });
  const source = Buffer.concat([
    encode('ModelProto', model).read(),
    field(
      7,
      ...graph.node.map((node) => marked(1, 'NodeProto', noted(node), `node ${node.name};`)),
      field(2, 'g'),
      ...graph.initializer.map((tensor) => marked(5, 'TensorProto', tensor, `initializer ${tensor.name};`)),
      ...graph.input.map((info) => marked(11, 'ValueInfoProto', info, 'input;')),
      ...graph.output.map((info) => marked(12, 'ValueInfoProto', info, 'output;')),
      field(900, 'graph;'),
    ),
    field(900, 'model;'),
  ]);
  const marks = (all: Uint8Array) =>
    [
      ...Buffer.from(all)
        .toString('latin1')
        .matchAll(/(node \w+|initializer \w+|input|output|graph|model);/g),
    ].map(([mark]) => mark);
  const { proto } = parseModel(rewrittenBytes(rewriteModel(modelPath(source))).read());
  // Copies for the negative component carry the marks of what they are copies of.
  const rewritten = graphOf(proto);
  const node = rewritten.node.filter(({ name }) => !name?.endsWith('/negative'));
  const own = encode('ModelProto', derive(proto, { graph: derive(rewritten, { node }) })).read();
  const gone = ['node scores;', 'node softmax;', 'node attended;'];
  expect(marks(own)).toEqual(marks(source).filter((mark) => !gone.includes(mark)));
  expect(proto.producerName).toBe('me');
  expect(proto.metadataProps[0]).toEqual({ key: 'mine', value: 'kept' });
  expect(node[0]).toMatchObject({
    docString: 'doc of q_proj',
    metadataProps: [{ key: 'scope', value: 'q_proj' }],
  });
});
