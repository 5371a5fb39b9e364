import { parseText, printNode, printText, TextSyntaxError } from '../../src/ir/text';
import type { GraphProto, ModelProto, NodeProto } from '../../src/onnx/messages';

function graphOf(model: ModelProto): GraphProto {
  if (model.graph === undefined) {
    throw new Error('no graph');
  }
  return model.graph;
}

/** The nodes of a graph that is only nodes. */
function nodes(text: string): readonly NodeProto[] {
  return graphOf(parseText(`g () => () {\n${text}\n}`)).node;
}

/** The bytes of an initializer `t` of this type and these elements. */
function bytesOf(type: string, elements: string): number[] {
  const [tensor] = graphOf(parseText(`g () => () <${type} t = ${elements}> {}`)).initializer;
  return [...(tensor?.rawData?.read() ?? [])];
}

/** Byte ranges compare by what they hold. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, item) => {
      if (typeof item === 'bigint') {
        return `${item}n`;
      }
      return typeof item?.read === 'function' ? [...item.read()] : item;
    }),
  );
}

const EVERYTHING = `
# a comment
<ir_version: 8, opset_import: ["" : 17, "ai.diffx" : 1], producer_name: "me \\"quoted\\"", model_version: 3,
 metadata_props: ["a": "1", "b": "two"]>
"main/graph" (float[N, "a+b", 3, ?] x, float[] u, float s, seq(float[N]) q, optional(int64[2]) o, float[2] d = {1, 2})
    => (float[N, 8] "model.layers.0/y") <
  float[2, 2] "model.w" = {1, -2.5, 1e-7, inf}, int64[2] shape = {-1, 9223372036854775807},
  float16[2] h = {15360, 0}, bool[2] b = {1, 0}, uint4[3] packed = {33, 3}, string[2] words = {"a", "b c"},
  float[0] empty = {}, double scalar = {0.1}, complex64[1] c = {1, 2}, float[4] far = ["location": "w.bin", "offset": "16"],
  float[N] hidden
> {
  ["/model/layers.0/Mul"] hidden = Mul (x, "model.w")
  y1, "", "z::1" = ai.diffx.Op <k: float = 1, n: int = 2, fs: floats = [1, 2], s: string = "t", ss: strings = ["a", "b"],
      t: tensor = float[2] named {1, 2}, e: ints = [], m = [0.5, 1], tp: type_proto = float[N]> (x, , hidden)
  "model.layers.0/y" = If (cond) <then_branch: graph = then_graph () => (float a) <float k = {2}> { a = Mul (x, k) },
      else_branch: graph = else_graph () => (float a) { a = Identity (x) }>
  = Sink:over ()
}
<domain: "d", opset_import: ["" : 17], doc_string: "adds">
fn <alpha, beta: float = 1.5> (float[N] a, b) => (c) <float[N] t> {
  t = LeakyRelu <alpha: float = @alpha> (a)
  c = Add (t, b)
}`;

test('a model survives printing and parsing', () => {
  const model = parseText(EVERYTHING);
  const text = printText(model);
  expect(plain(parseText(text))).toEqual(plain(model));
  expect(printText(parseText(text))).toBe(text);
});

// Python's onnx 1.23.2 reads this text to the same model: compared by hand, also for 151 exports.
test('every construct prints as ONNX writes it', () => {
  expect(printText(parseText(EVERYTHING))).toMatchInlineSnapshot(`
"<ir_version: 8, opset_import: ["": 17, "ai.diffx": 1], producer_name: "me \\"quoted\\"", model_version: 3, metadata_props: ["a": "1", "b": "two"]>
"main/graph" (float[N, "a+b", 3, ?] x, float[] u, float s, seq(float[N]) q, optional(int64[2]) o, float[2] d) => (float[N, 8] "model.layers.0/y") <
  float[2] d = {1, 2},
  float[2, 2] "model.w" = {1, -2.5, 1e-7, inf},
  int64[2] shape = {-1, 9223372036854775807},
  float16[2] h = {15360, 0},
  bool[2] b = {1, 0},
  uint4[3] packed = {33, 3},
  string[2] words = {"a", "b c"},
  float[0] empty = {},
  double scalar = {0.1},
  complex64[1] c = {1, 2},
  float[4] far = ["location": "w.bin", "offset": "16"],
  float[N] hidden
> {
  ["/model/layers.0/Mul"] hidden = Mul (x, "model.w")
  y1, "", "z::1" = ai.diffx.Op <k: float = 1.0, n: int = 2, fs: floats = [1.0, 2.0], s: string = "t", ss: strings = ["a", "b"], t: tensor = float[2] named {1, 2}, e: ints = [], m: floats = [0.5, 1.0], tp: type_proto = float[N]> (x, "", hidden)
  "model.layers.0/y" = If (cond) <
    then_branch: graph = then_graph () => (float a) <
      float k = {2}
    > {
      a = Mul (x, k)
    },
    else_branch: graph = else_graph () => (float a) {
      a = Identity (x)
    }
  >
   = Sink:over ()
}
<domain: "d", opset_import: ["": 17], doc_string: "adds">
fn <alpha, beta: float = 1.5> (a, b) => (c) <
  float[N] a,
  float[N] t
> {
  t = LeakyRelu <alpha: float = @alpha> (a)
  c = Add (t, b)
}
"
`);
});

test('what the syntax calls a node is a node', () => {
  const [node] = nodes('["/a/b"] y, "z.1" = ai.diffx.Op <axis: int = -1> (x, , w)');
  expect(node).toMatchObject({
    name: '/a/b',
    output: ['y', 'z.1'],
    opType: 'Op',
    domain: 'ai.diffx',
    input: ['x', '', 'w'],
    attribute: [{ name: 'axis', type: 2, i: -1n }],
  });
});

test.each([
  ['Op ()', []],
  ['Op (,)', ['']],
  ['Op ("")', ['']],
  ['Op (x,)', ['x']],
  ['Op (, x)', ['', 'x']],
  ['Op (x, "", y)', ['x', '', 'y']],
])('absent inputs: %s', (call, input) => {
  expect(nodes(`y = ${call}`)[0]?.input).toEqual(input);
});

test.each([
  ['a = 1', { type: 2, i: 1n }],
  ['a = 1.0', { type: 1, f: 1 }],
  ['a: float = 1', { type: 1, f: 1 }],
  ['a = -inf', { type: 1, f: Number.NEGATIVE_INFINITY }],
  ['a: float = nan', { type: 1, f: Number.NaN }],
  ['a = [1, 2]', { type: 7, ints: [1n, 2n] }],
  ['a = [1, 2.5]', { type: 6, floats: [1, 2.5] }],
  ['a: floats = [1, 2]', { type: 6, floats: [1, 2] }],
  ['a = ["x"]', { type: 8, strings: [Buffer.from('x')] }],
  ['a: ints = []', { type: 7, ints: [] }],
  ['a: float = @alpha', { type: 1, refAttrName: 'alpha' }],
  ['a = float[N, 2]', { type: 13, tp: { tensorType: { elemType: 1 } } }],
  ['a = int64 {3}', { type: 4, t: { dataType: 7, dims: [] } }],
  ['"a" = sub (x) => (y) {}', { type: 5, g: { name: 'sub', input: [{ name: 'x' }] } }],
])('the attribute %s', (text, attribute) => {
  const found = nodes(`y = Op <${text}> ()`)[0]?.attribute[0];
  expect(found?.name).toBe('a');
  expect(found?.strings.map((s) => Buffer.from(s)) ?? []).toEqual(
    'strings' in attribute ? attribute.strings : [],
  );
  const { strings: _, ...rest } = { strings: [], ...attribute };
  expect(found).toMatchObject(rest);
});

test('attributes may follow the inputs', () => {
  expect(nodes('y = Op (x) <axis = 1>')[0]?.attribute).toMatchObject([{ name: 'axis', i: 1n }]);
});

test('elements are stored as their type stores them', () => {
  expect(bytesOf('float[2]', '{1, -0}')).toEqual([0, 0, 0x80, 0x3f, 0, 0, 0, 0x80]);
  expect(bytesOf('int64', '{-2}')).toEqual([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
  expect(bytesOf('bool[2]', '{true, 0}')).toEqual([1, 0]);
  expect(bytesOf('uint4[3]', '{33, 3}')).toEqual([33, 3]);
});

test('integers of float16 and bfloat16 are bit patterns, decimals are values', () => {
  expect(bytesOf('float16[2]', '{15360, 1.0}')).toEqual([0, 0x3c, 0, 0x3c]);
  expect(bytesOf('bfloat16[2]', '{16256, 1.0}')).toEqual([0x80, 0x3f, 0x80, 0x3f]);
  // 65504 is the greatest float16, 2^-24 the smallest; 1 + 2^-11 is a tie that goes to even
  expect(bytesOf('float16[4]', '{65504.0, 65520.0, 5.960464477539063e-8, 1.00048828125}')).toEqual([
    0xff, 0x7b, 0, 0x7c, 1, 0, 0, 0x3c,
  ]);
  expect(bytesOf('float16[3]', '{-inf, nan, -0.1}')).toEqual([0, 0xfc, 0, 0x7e, 0x66, 0xae]);
});

test('float32 prints in the fewest digits that read back the same', () => {
  const values = [0.1, 1 / 3, 16777216, 1e-45, 3.4028234663852886e38, 1e21, -0].map(Math.fround);
  const model = parseText(`g () => () <float[${values.length}] w = {...}> {}`, { fill: () => values });
  expect(printText(model)).toContain('{0.1, 0.33333334, 16777216, 1e-45, 3.4028235e+38, 1e+21, -0}');
});

test('a large tensor prints without its elements, and is not read', () => {
  const model = parseText('g () => () <float[2, 2] w = {1, 2, 3, 4}, float b = {1}> {}');
  const text = printText(model, { maxElements: 3 });
  expect(text).toContain('float[2, 2] w = {...},\n  float b = {1}');
  expect(() => parseText(text)).toThrow('the elements were left out');
  const filled = parseText(text, { fill: (name, count) => Array(count).fill(name === 'w' ? 7 : 0) });
  expect(printText(filled)).toContain('float[2, 2] w = {7, 7, 7, 7}');
});

test('metadata of nodes is a comment for other readers', () => {
  const [node] = nodes('y = Relu (x) #: {"scope": "layers.0\\n"}\nz = Relu (y) # no metadata');
  expect(node?.metadataProps).toEqual([{ key: 'scope', value: 'layers.0\n' }]);
  expect(node && printNode(node, { metadata: true })).toBe('y = Relu (x) #: {"scope":"layers.0\\n"}');
  expect(node && printNode(node)).toBe('y = Relu (x)');
});

test('a text without a header is opset 17', () => {
  expect(parseText('g () => () {}')).toMatchObject({
    irVersion: 8n,
    opsetImport: [{ domain: '', version: 17n }],
  });
});

test.each([
  ['g () => () {\n  y = Relu x\n}', "2:12: expected '(' before the inputs of Relu, found 'x'"],
  ['g () => ()', "1:11: expected '{' before the nodes, found the end of the text"],
  ['g (float[2 x) => () {}', "1:12: expected ']' or ',' after the dimensions, found 'x'"],
  ['g (flot x) => () {}', "1:9: expected ')' or ',' after the inputs of the graph, found 'x'"],
  ['g () => () {\n\n  a/b = Relu (x) }', "3:4: unexpected: the character '/'"],
  ['g () => () <float[3] w = {1, 2}> {}', '1:26: float[3] takes 3 elements, 2 are given'],
  ['g () => () <int8 w = {300}> {}', "1:23: '300' is not an element of int8"],
  ['g () => () <float[N] w = {1}> {}', '1:26: a tensor needs a type whose dimensions are numbers'],
  ['g () => () <float w = 1> {}', '1:23: expected the elements of w in braces'],
  ['g () => () { y = Op <a: int = 1.5> () }', '1:22: a is declared int, its value is float'],
  ['g () => () { y = Op <a = []> () }', '1:26: an empty list needs the type of the attribute'],
  ['g () => () { y = Op <a = ["b", 1]> () }', '1:26: the values of a list are of one type'],
  ['g () => () { y = Op <a = @b> () }', '1:22: a reference needs its type'],
  ['g () => () { y = "Op (x) }', '1:18: unexpected: a string that does not end'],
  ['<ir_versoin: 8> g () => () {}', "1:2: unknown item 'ir_versoin' of a header"],
])('%j is refused with the place', (text, message) => {
  expect(() => parseText(text)).toThrow(TextSyntaxError);
  expect(() => parseText(text)).toThrow(message);
});
