/** Functions in the place of their calls: what ONNX Runtime gives for the model with functions is what must come out. */
import { checkInvariants, inlineFunctions, load, save } from '../../src/ir';
import { encode, parseModel } from '../../src/onnx';
import { modelText, textBytes } from '../support/models';
import { expectClose, floatTensor, runModel } from '../support/run';

const HEAD = '<ir_version: 10, opset_import: ["" : 18, "f" : 1]>';
const fn = (text: string, more = '') => `<domain: "f", opset_import: ["" : 18, "f" : 1]${more}>\n${text}`;

interface Case {
  readonly what: string;
  /** Of x [2, 3] and y [2, 3]. */
  readonly graph: string;
  readonly functions: readonly string[];
}

const cases: readonly Case[] = [
  {
    what: 'several calls of one function',
    graph: 'a = f.twice (x)\n b = f.twice (a)\n out = f.twice (b)',
    functions: [fn('twice (v) => (w) { t = Add (v, v)\n w = Identity (t) }')],
  },
  {
    what: 'functions that call functions',
    graph: 'out = f.outer (x, y)',
    functions: [
      fn('outer (a, b) => (c) { t = f.inner (a)\n u = f.inner (b)\n c = Sub (t, u) }'),
      fn('inner (a) => (b) { t = Exp (a)\n b = Add (t, a) }'),
    ],
  },
  {
    what: 'attributes of the call, also handed on, under other names',
    graph: 'out = f.outer <slope: float = 0.25> (x)',
    functions: [
      fn('outer <slope> (a) => (b) { b = f.inner <k: float = @slope> (a) }'),
      fn('inner <k> (a) => (b) { b = LeakyRelu <alpha: float = @k> (a) }'),
    ],
  },
  {
    what: 'defaults of attributes, and calls that give others',
    graph: 'a = f.leak (x)\n b = f.leak <slope: float = 0.75> (y)\n out = Add (a, b)',
    functions: [fn('leak <slope: float = 0.5> (a) => (b) { b = LeakyRelu <alpha: float = @slope> (a) }')],
  },
  {
    what: 'an attribute that nobody gives: what the operator does without it',
    graph: 'out = f.leak (x)',
    functions: [fn('leak <slope> (a) => (b) { b = LeakyRelu <alpha: float = @slope> (a) }')],
  },
  {
    what: 'names inside that are those of values and nodes of the model',
    graph: 't = Neg (x)\n ["n"] u = Exp (y)\n v = f.mean (u, t)\n out = Sub (v, t)',
    functions: [fn('mean (x, y) => (u) { ["n"] t = Add (x, y)\n u = Div (t, y) }')],
  },
  {
    what: 'inputs that are left out, handed on as left out',
    graph: `low = ReduceMin <keepdims = 0> (y)
      high = ReduceMean <keepdims = 0> (x)
      a = f.limit (x, , high)
      b = f.limit (y, low)
      c = f.limit (x)
      t = Add (a, b)
      out = Mul (t, c)`,
    functions: [
      fn('limit (v, low, high) => (w) { t = f.clip (v, low, high)\n w = Neg (t) }'),
      fn('clip (v, low, high) => (w) { w = Clip (v, low, high) }'),
    ],
  },
  {
    what: 'several outputs, some that nobody wants',
    graph: 'a, "", b = f.three (x)\n c, d, e = f.three (y)\n t = Mul (b, c)\n out = Add (a, t)',
    functions: [fn('three (v) => (e, g, h) { e = Exp (v)\n g = Neg (v)\n h = Abs (v) }')],
  },
  {
    what: 'bodies inside a function, which read what is around them',
    graph: 'a = f.choose (x, y)\n b = f.choose (y, x)\n out = Add (a, b)',
    functions: [
      fn(`choose (v, w) => (r) {
        m = ReduceMax <keepdims = 0> (v)
        k = ReduceMax <keepdims = 0> (w)
        c = Less (m, k)
        t = Exp (v)
        r = If (c) <
          then_branch: graph = yes () => (float[N, M] z) <float half = {0.5}> { u = Mul (t, half)\n z = f.more (u) },
          else_branch: graph = no () => (float[N, M] z) { t2 = Add (t, w)\n z = Identity (t2) }
        >
      }`),
      fn('more (v) => (w) { w = Add (v, v) }'),
    ],
  },
  {
    what: 'an attribute of the call inside a body of the function',
    graph: 'out = f.loop <slope: float = 0.5> (x)',
    functions: [
      fn(`loop <slope> (v) => (r) {
        n = Constant <value = int64 {3}> ()
        yes = Constant <value = bool {1}> ()
        r = Loop (n, yes, v) <body: graph = round (int64 i, bool go, float[N, M] s) => (bool on, float[N, M] t) {
          on = Identity (go)
          q = LeakyRelu <alpha: float = @slope> (s)
          t = Sub (q, v)
        }>
      }`),
    ],
  },
  {
    what: 'a call in a body of the main graph',
    graph: `c = ReduceMax <keepdims = 0> (x)
      d = ReduceMax <keepdims = 0> (y)
      e = Less (c, d)
      out = If (e) <
        then_branch: graph = yes () => (float[N, M] z) { z = f.twice (x) },
        else_branch: graph = no () => (float[N, M] z2) { z2 = f.twice (y) }
      >`,
    functions: [fn('twice (v) => (w) { w = Add (v, v) }')],
  },
];

const textOf = ({ graph, functions }: Case) =>
  `${HEAD}\ng (float[2, 3] x, float[2, 3] y) => (float[2, 3] out) {\n ${graph}\n}\n${functions.join('\n')}`;

const feeds = {
  x: floatTensor([2, 3], [0.5, -1, 2, -0.25, 1.5, -3]),
  y: floatTensor([2, 3], [1, 0.5, -2, 0.75, -1.25, 2.5]),
};

const inlined = (text: string) => {
  const model = load(parseModel(textBytes(text)));
  const origins = inlineFunctions(model, () => true);
  return { model, origins };
};

describe.each(cases)('$what', (each) => {
  const text = textOf(each);

  test('gives what it gave, without functions', async () => {
    const { model } = inlined(text);
    expect(checkInvariants(model)).toEqual([]);
    expect(model.functions).toEqual([]);
    const bytes = encode('ModelProto', save(model)).read();
    expectClose(await runModel(bytes, feeds), await runModel(textBytes(text), feeds), 0);
  });

  test('a transaction that fails takes it back', () => {
    const model = load(parseModel(textBytes(text)));
    const before = modelText(model);
    const work = () =>
      model.journal.transaction(() => {
        inlineFunctions(model, () => true);
        throw new Error('no');
      });
    expect(work).toThrow('no');
    expect(modelText(model)).toBe(before);
    expect(checkInvariants(model)).toEqual([]);
  });
});

test('an output of a function that is one of its inputs, which ONNX Runtime refuses, is passed on', async () => {
  const text = textOf({
    what: '',
    graph: 'a, b = f.pair (x)\n c, out = f.pair (y)\n d = Add (a, b)',
    functions: [fn('pair (v) => (v, w) { w = Neg (v) }')],
  }).replace('(float[2, 3] out)', '(float[2, 3] out, float[2, 3] d, float[2, 3] c)');
  const { model } = inlined(text);
  expect(checkInvariants(model)).toEqual([]);
  const given = await runModel(encode('ModelProto', save(model)).read(), feeds);
  const zero = floatTensor([2, 3], [0, 0, 0, 0, 0, 0]);
  const negative = floatTensor([2, 3], [-1, -0.5, 2, -0.75, 1.25, -2.5]);
  expectClose(given, { out: negative, c: feeds.y, d: zero }, 0);
});

test('functions of one name are told apart by their overload', async () => {
  // The text form has no overloads of functions, and the runtime takes the first one of a name.
  const text = `${HEAD}\ng (float[2, 3] x) => (float[2, 3] out) { a = f.op:one (x)\n out = f.op:two (a) }
${fn('op (v) => (w) { w = Add (v, v) }', ', overload: "one"')}
${fn('op (v) => (w) { w = Neg (v) }', ', overload: "two"')}`;
  const { model } = inlined(text);
  expect(model.graph.nodes.map(({ opType }) => opType)).toEqual(['Add', 'Neg']);
});

test('functions that are not wanted stay as they are, and those that they call', () => {
  const text = textOf({
    what: '',
    graph: 'a = f.wanted (x)\n b = f.other (y)\n out = Add (a, b)',
    functions: [
      fn('wanted (v) => (w) { w = f.shared (v) }'),
      fn('other (v) => (w) { w = f.shared (v) }'),
      fn('shared (v) => (w) { w = Neg (v) }'),
    ],
  });
  const model = load(parseModel(textBytes(text)));
  const [, other, shared] = model.functions;
  inlineFunctions(model, ({ proto }) => proto.name !== 'other');
  expect(model.functions).toEqual([other, shared]);
  expect(model.graph.nodes.map(({ opType }) => opType)).toEqual(['Neg', 'other', 'Add']);
});

test('a function that calls itself is no function', () => {
  const text = textOf({
    what: '',
    graph: 'out = f.op (x)',
    functions: [fn('op (v) => (w) { w = f.op (v) }')],
  });
  expect(() => inlined(text)).toThrow('function op calls itself');
});

test('operator sets that only functions use are imported', () => {
  const text = `<ir_version: 10, opset_import: ["" : 18, "f" : 1]>
g (float[2, 3] x) => (float[2, 3] out) { out = f.op (x) }
<domain: "f", opset_import: ["" : 18, "com.microsoft" : 1]>
op (v) => (w) { w = com.microsoft.Gelu (v) }`;
  const { model } = inlined(text);
  expect(model.opsets.get('com.microsoft')).toBe(1);
  expect(checkInvariants(model)).toEqual([]);
});
