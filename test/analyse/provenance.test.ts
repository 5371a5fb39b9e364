/**
 * Column provenance against brute force: a projection whose elements are their own numbers is sent through random layout
 * operators in ONNX Runtime, and every element that comes out must be the one that the view says.
 */

import { type Atom, axisSize, Dim, followViews, projectionView, Shapes, type View } from '../../src/analyse';
import { chainOf, steps } from '../support/layout-chains';
import { exposing, textBytes, textModel, valueNamed } from '../support/models';
import fc from '../support/properties';
import { floatTensor, numbersOf, runModel, type Tensor } from '../support/run';

const [B, S, C] = [2, 3, 24];

/** Element (b, s, c) is c + C * (b * S + s): it tells the column and the row that it came from. */
const numbered = floatTensor(
  [B, S, C],
  Array.from({ length: B * S * C }, (_, i) => i),
);

/** For each element of a value of this shape: its position along every atom of the view, in order. */
function* positions(view: View): Iterable<ReadonlyMap<Atom, number>> {
  const atoms = view.axes.flat();
  const sizes = atoms.map((atom) => atom.size.value ?? Number.NaN);
  const count = sizes.reduce((all, size) => all * size, 1);
  for (let flat = 0; flat < count; flat++) {
    const at = new Map<Atom, number>();
    let rest = flat;
    for (let i = atoms.length - 1; i >= 0; i--) {
      const [atom, size] = [atoms[i], sizes[i] ?? 1];
      if (atom) at.set(atom, rest % size);
      rest = Math.floor(rest / size);
    }
    yield at;
  }
}

/** The columns that a view predicts; undefined where it says that they are combined. */
function predictedColumns(view: View): number[] | undefined {
  const columns = view.axes.flat().filter((atom) => atom.kind === 'column');
  if (columns.some((atom) => atom.stride === undefined)) return undefined;
  return [...positions(view)].map((at) =>
    columns.reduce((sum, atom) => sum + (at.get(atom) ?? 0) * (atom.stride ?? 0), view.offset),
  );
}

/** The rows that a view predicts; undefined where it does not say. */
function predictedRows(view: View): number[] | undefined {
  const leads = view.axes.flat().filter((atom) => atom.kind === 'lead');
  if (leads.some((atom) => atom.order === undefined)) return undefined;
  const ordered = leads.sort((a, b) => compare(a.order ?? [], b.order ?? []));
  if (ordered.reduce((all, atom) => all * (atom.size.value ?? 0), 1) !== B * S) return undefined;
  return [...positions(view)].map((at) =>
    ordered.reduce((row, atom) => row * (atom.size.value ?? 1) + (at.get(atom) ?? 0), 0),
  );
}

function compare(a: readonly number[], b: readonly number[]): number {
  const differs = a.findIndex((value, i) => value !== b[i]);
  return differs < 0 ? a.length - b.length : (a[differs] ?? 0) - (b[differs] ?? -1);
}

/** What the views of a chain say, beside what ONNX Runtime gives. */
async function follow(text: string, names: readonly string[]) {
  const model = textModel(text);
  const shapes = new Shapes(model);
  const start = new Map([[valueNamed(model, 'v0'), projectionView([Dim.of(B), Dim.of(S)], C)]]);
  const views = followViews(shapes, start, model.graph.nodes);
  const actual = await runModel(exposing(textBytes(text), names), { v0: numbered });
  return names.map((name) => ({
    name,
    view: views.get(valueNamed(model, name)),
    shape: shapes.shape(valueNamed(model, name))?.map(String),
    actual: actual[name],
  }));
}

interface Counts {
  values: number;
  columns: number;
  rows: number;
}

/** Lists of a hundred numbers: the first that differs says enough. */
function expectSame(actual: readonly number[], predicted: readonly number[], what: string): void {
  const at = actual.findIndex((value, i) => value !== predicted[i]);
  if (at >= 0) throw new Error(`element ${at} is ${what} ${actual[at]}, predicted ${predicted[at]}`);
}

function check(view: View, actual: Tensor | undefined, counts: Counts): void {
  if (!actual) throw new Error('no value');
  const numbers = numbersOf(actual);
  expect(view.axes.map((axis) => axisSize(axis).value)).toEqual([...actual.shape]);
  counts.values++;
  const columns = predictedColumns(view);
  if (columns) {
    expectSame(
      numbers.map((number) => number % C),
      columns,
      'column',
    );
    counts.columns++;
  }
  const rows = predictedRows(view);
  if (rows) {
    expectSame(
      numbers.map((number) => Math.floor(number / C)),
      rows,
      'row',
    );
    counts.rows++;
  }
}

test('random chains of layout operators', async () => {
  const counts = { values: 0, columns: 0, rows: 0 };
  let all = 0;
  await fc.assert(
    fc.asyncProperty(steps, async (chosen) => {
      const chain = chainOf([B, S, C], chosen);
      const names = chain.shapes.map((_, i) => `v${i}`);
      for (const { view, shape, actual } of await follow(chain.text, names)) {
        all++;
        expect(shape).toEqual(actual?.shape.map(String));
        if (view && 'axes' in view) check(view, actual, counts);
      }
    }),
    { numRuns: 600 },
  );
  // A test in which every view is lost would pass as well.
  expect(counts.values / all).toBeGreaterThan(0.5);
  expect(counts.columns / all).toBeGreaterThan(0.4);
  expect(counts.rows / all).toBeGreaterThan(0.3);
});

describe('what is combined is not taken for a column', () => {
  /** The view of a value of a small graph, as text: `size@stride` for columns, `size` for the rest; one axis after `|`. */
  function viewOf(nodes: string, name: string, constants = ''): string {
    const model =
      textModel(`g (float[B, S, 8] x, float[T, 8] table) => (float y) <${constants || 'float unused = {0}'}> {
      ${nodes}
      y = ReduceSum <keepdims = 0> (${name})
    }`);
    const leading = [Dim.symbol('B'), Dim.symbol('S')];
    const start = new Map([[valueNamed(model, 'x'), projectionView(leading, 8)]]);
    const view = followViews(new Shapes(model), start, model.graph.nodes).get(valueNamed(model, name));
    if (!view) return 'none';
    if ('node' in view) return `lost at ${view.node.label}: ${view.found}`;
    const atom = (each: Atom) =>
      each.kind === 'column'
        ? `${each.size}@${each.stride ?? '?'}`
        : each.kind === 'lead'
          ? `${each.size}`
          : `${each.size} times`;
    return `${view.axes.map((axis) => axis.map(atom).join(' ')).join(' | ')} + ${view.offset}`;
  }
  const heads = `
      four = Reshape (x, split)
      q = Transpose <perm = [0, 2, 1, 3]> (four)`;
  const split = 'int64[4] split = {0, 0, 2, 4}';

  test('heads have strides of their width', () => {
    expect(viewOf(heads, 'q', split)).toBe('B | 2@4 | S | 4@1 + 0');
  });

  test('heads that are repeated by index, or by standing several times behind one another, stay heads', () => {
    const repeated = (indices: string) =>
      viewOf(`${heads}\n r = Gather <axis = 1> (q, many)`, 'r', `${split}, ${indices}`);
    expect(repeated('int64[4] many = {0, 0, 1, 1}')).toBe('B | 2@4 2 times | S | 4@1 + 0');
    expect(repeated('int64[4] many = {0, 1, 0, 1}')).toBe('B | 2 times 2@4 | S | 4@1 + 0');
    expect(repeated('int64[4] many = {0, 1, 1, 0}')).toBe('B | 4@? | S | 4@1 + 0');
    expect(viewOf(`${heads}\n r = Concat <axis = 1> (q, q, q)`, 'r', split)).toBe(
      'B | 3 times 2@4 | S | 4@1 + 0',
    );
  });

  test('a rotary embedding combines columns of a head, and keeps heads apart', () => {
    const rotary = `${heads}
      first, second = Split <axis = -1> (q)
      negated = Neg (second)
      turned = Concat <axis = -1> (negated, first)`;
    expect(viewOf(rotary, 'turned', split)).toMatch(/^B \| 2@4 \| S \| 4@\? /);
    expect(viewOf(rotary, 'first', split)).toBe('B | 2@4 | S | 2@1 + 0');
    expect(viewOf(rotary, 'second', split)).toBe('B | 2@4 | S | 2@1 + 2');
  });

  test('keys that stand behind cached ones are columns still, on rows that are not those of the projection', () => {
    expect(
      viewOf(
        `${heads}\n joined = Concat <axis = 2> (past, q)`,
        'joined',
        `${split}, float[1, 2, 5, 4] past = {...}`,
      ),
    ).toBe('B | 2@4 | S + 5 | 4@1 + 0');
  });

  test('a product mixes the last axis and nothing else', () => {
    expect(viewOf(`${heads}\n p = MatMul (q, w)`, 'p', `${split}, float[4, 3] w = {...}`)).toBe(
      'B | 2@4 | S | 3@? + 0',
    );
  });

  test('what is summed is gone', () => {
    expect(viewOf(`${heads}\n m = ReduceMean <axes = [-1]> (q)`, 'm', split)).toBe('B | 2@4 | S |  + 0');
  });

  test('shapes that only the run knows are lost with the node that makes them', () => {
    expect(viewOf('["n"] r = Reshape (x, made)\n made = Cast <to = 7> (table)', 'r')).toMatch(/^lost at n: /);
  });

  test('the shape arithmetic of exporters is followed', () => {
    const dynamic = `
      shape = Shape (x)
      batch = Gather <axis = 0> (shape, zero)
      rows = Gather <axis = 0> (shape, one)
      batch1 = Unsqueeze (batch, first)
      rows1 = Unsqueeze (rows, first)
      target = Concat <axis = 0> (batch1, rows1, two, open)
      r = Reshape (x, target)`;
    const constants =
      'int64 zero = {0}, int64 one = {1}, int64[1] first = {0}, int64[1] two = {2}, int64[1] open = {-1}';
    expect(viewOf(dynamic, 'r', constants)).toBe('B | S | 2@4 | 4@1 + 0');
  });
});
