/** What is worked out before a model runs has an end, whatever the model says; src/analyse/limits.ts says where. */
import { passes } from '../../passes';
import { Dim, Shapes } from '../../src/analyse';
import { MOST_ELEMENTS } from '../../src/analyse/limits';
import { load, type Model, type Value } from '../../src/ir';
import { parseModel } from '../../src/onnx';
import { findPrepared } from '../../src/rewrite/prepare';
import { textBytes, thrownBy } from '../support/models';

/** Without the limits each of these takes minutes, or all memory. */
const SECONDS = 20_000;

const model = (text: string): Model => load(parseModel(textBytes(text), { name: 'text.onnx' }));

function graph(nodes: string, weights = '', output = 'float[N] y'): Model {
  const given = weights === '' ? '' : `<${weights}>`;
  return model(`<ir_version: 10, opset_import: ["" : 18]>
    g (float[B, S] x) => (${output}) ${given} { ${nodes} }`);
}

function named({ graph: { values } }: Model, name: string): Value {
  const value = values.get(name);
  if (!value) throw new Error(`no ${name}`);
  return value;
}

const lines = (count: number, line: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => line(index)).join('\n');

test(
  'a constant that is put together with itself again and again: its size is known, its elements are not',
  () => {
    const nodes = lines(40, (at) => `d${at + 1} = Concat <axis = 0> (d${at}, d${at})`);
    const doubled = graph(`${nodes}\n y = Identity (d40)`, 'int64[2] d0 = {1, 2}', 'int64[N] y');
    const shapes = new Shapes(doubled);
    const known = Math.log2(MOST_ELEMENTS) - 1;
    expect(shapes.fact(named(doubled, `d${known}`)).elements).toHaveLength(MOST_ELEMENTS);
    expect(shapes.fact(named(doubled, `d${known + 1}`)).elements).toBeUndefined();
    expect(shapes.shape(named(doubled, 'd40'))?.[0]?.value).toBe(2 ** 41);
  },
  SECONDS,
);

test.each(['Mul', 'Add', 'Div'])(
  'sizes that %s with themselves again and again',
  (operator) => {
    const other = operator === 'Div' ? 'three' : '';
    const nodes = lines(
      200,
      (at) => `t${at} = Mul (d${at}, d${at})\n d${at + 1} = ${operator} (t${at}, ${other || `t${at}`})`,
    );
    const grown = graph(`d0 = Shape (x)\n ${nodes}\n y = ConstantOfShape (d200)`, 'int64[1] three = {3}');
    expect(new Shapes(grown).shape(named(grown, 'y'))).toHaveLength(2);
  },
  SECONDS,
);

test(
  'sizes that are divided, multiplied and rounded again and again',
  () => {
    const nodes = lines(
      200,
      (at) =>
        `a${at} = Div (d${at}, three)\n b${at} = Div (d${at}, five)\n d${at + 1} = Mul (a${at}, b${at})`,
    );
    const grown = graph(
      `d0 = Shape (x)\n ${nodes}\n y = ConstantOfShape (d200)`,
      'int64[1] three = {3}, int64[1] five = {5}',
    );
    expect(new Shapes(grown).shape(named(grown, 'y'))).toHaveLength(2);
  },
  SECONDS,
);

test('names of sizes of any length are told apart, and take no room', () => {
  const [one, same, other] = ['a', 'a', 'b'].map((end) => Dim.symbol(`${'n'.repeat(1e6)}${end}`));
  expect(one && same?.equals(one)).toBe(true);
  expect(one && other?.equals(one)).toBe(false);
  expect(one?.toString().length).toBeLessThan(300);
});

test(
  'axes that are added again and again',
  () => {
    const nodes = lines(5000, (at) => `d${at + 1} = Unsqueeze (d${at}, zero)`);
    const deep = graph(`d0 = Identity (x)\n ${nodes}\n y = Identity (d5000)`, 'int64[1] zero = {0}');
    const shapes = new Shapes(deep);
    expect(shapes.shape(named(deep, 'd10'))).toHaveLength(12);
    expect(shapes.shape(named(deep, 'y'))).toHaveLength(1);
  },
  SECONDS,
);

describe('sizes that nothing has', () => {
  test.each([
    ['a tensor of constants', 'y = ConstantOfShape (bad)', '-1'],
    ['repeats', 't = Shape (x)\n u = Tile (t, bad)\n y = Cast <to = 1> (u)', '-1'],
  ])('%s of %s is an error that names the node', (_, nodes, size) => {
    const bad = graph(nodes, `int64[1] bad = {${size}}`);
    const error = thrownBy(() => new Shapes(bad));
    expect(error).toMatchObject({ code: 'invalid-graph', exitCode: 2 });
    expect(error.message).toMatch(/is asked for a size of -1/);
  });

  test('where nobody may come, it is not known', () => {
    const bad = graph(
      'y = If (c) <then_branch = t () => (float[N] a) { a = ConstantOfShape (bad) }, else_branch = e () => (float[N] b) { b = ReduceSum <keepdims = 0> (x, one) }>',
      'bool c = {0}, int64[1] bad = {-1}, int64[1] one = {1}',
    );
    expect(new Shapes(bad).shape(named(bad, 'y'))).toHaveLength(1);
  });

  test.each(['-2', '9223372036854775807', '4611686018427387904'])('a reshape to %s', (size) => {
    const bad = graph('y = Reshape (x, bad)', `int64[1] bad = {${size}}`);
    expect(new Shapes(bad).shape(named(bad, 'y'))?.[0]?.value).toBeUndefined();
  });

  test.each(['-5', '9223372036854775807'])('a range to %s', (limit) => {
    const bad = graph(
      'r = Range (zero, end, one)\n y = Cast <to = 1> (r)',
      `int64 zero = {0}, int64 one = {1}, int64 end = {${limit}}`,
    );
    expect(new Shapes(bad).shape(named(bad, 'y'))).toHaveLength(1);
  });
});

describe('functions', () => {
  const head =
    '<ir_version: 10, opset_import: ["" : 18, "f" : 1]>\ng (float[B, 4] x) => (float[B, 4] y) { y = f.f0 (x) }';
  const functions = (count: number, body: (next: string) => string) =>
    lines(
      count,
      (at) =>
        `<domain: "f", opset_import: ["" : 18, "f" : 1]>\n f${at} (a) => (b) { ${at < count - 1 ? body(`f.f${at + 1}`) : 'b = Relu (a)'} }`,
    );

  test(
    '10,000 of them, each of which calls the next, are looked through',
    () => {
      const chain = model(`${head}\n${functions(10_000, (next) => `b = ${next} (a)`)}`);
      expect(findPrepared(chain, passes).analysis.candidates).toEqual([]);
    },
    2 * SECONDS,
  );

  test(
    'that call the next one twice come to more than any model has',
    () => {
      const doubling = model(`${head}\n${functions(60, (next) => `t = ${next} (a)\n b = ${next} (t)`)}`);
      expect(new Shapes(doubling).shape(named(doubling, 'y'))).toHaveLength(2);
      expect(thrownBy(() => findPrepared(doubling, passes))).toMatchObject({
        code: 'invalid-graph',
        exitCode: 2,
        message: expect.stringMatching(/more than 262144 nodes/),
      });
    },
    SECONDS,
  );

  test(
    'that call the next one in a body lie too deep',
    () => {
      const body = (next: string) =>
        `c = Constant <value = bool {1}> ()
         b = If (c) <then_branch = t () => (u) { u = ${next} (a) }, else_branch = e () => (v) { v = Relu (a) }>`;
      const deep = model(`${head}\n${functions(500, body)}`);
      expect(thrownBy(() => findPrepared(deep, passes))).toMatchObject({
        code: 'invalid-graph',
        exitCode: 2,
      });
    },
    SECONDS,
  );
});
