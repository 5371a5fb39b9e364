import { load, type Model, save } from '../../src/ir';
import { modelBytes } from '../../src/onnx';
import { expose, type Shown } from '../../src/verify/exposure';
import { keyOf, type Place } from '../../src/verify/places';
import { textFile } from '../support/models';
import { floatTensor, intTensor, numbersOf, runModel, type Tensors } from '../support/run';

async function shown(text: string, places: readonly Place[], feeds: Tensors): Promise<Shown> {
  const file = textFile(text);
  const model: Model = load(file);
  const exposure = expose(model, places);
  return exposure.read(await runModel(modelBytes(save(model), file).read(), feeds));
}

const x = floatTensor([2], [1, 2]);
const on = { dtype: 9, shape: [], data: Uint8Array.of(1) } as const;
const off = { dtype: 9, shape: [], data: Uint8Array.of(0) } as const;
const here = (name: string): Place => ({ scope: [], name });

const BRANCHES = `<ir_version: 8, opset_import: ["" : 17]>
g (float[2] x, bool c) => (float[2] y) {
  a = Neg (x)
  y = If (c) <
    then_branch: graph = yes () => (float[2] t) { b = Add (a, a) t = Neg (b) },
    else_branch: graph = no () => (float[2] e) { b = Mul (a, a) e = Neg (b) }
  >
}`;
const inBranch = (body: string, name: string): Place => ({ scope: [{ output: 'y', body }], name });

test('values of the main graph are shown; outputs are shown as they are; what is not computed is not', async () => {
  const { values, notTaken } = await shown(BRANCHES, ['a', 'y', 'x', 'nothing'].map(here), { x, c: on });
  expect([...values.keys()]).toEqual([keyOf(here('a')), keyOf(here('y'))]);
  expect(numbersOf(values.get(keyOf(here('a'))))).toEqual([-1, -2]);
  expect(notTaken.size).toBe(0);
});

test.each([
  [on, 'then_branch', 'else_branch', [-2, -4]],
  [off, 'else_branch', 'then_branch', [1, 4]],
] as const)(
  'two branches with the same names: only the one that was taken shows its own',
  async (c, taken, other, b) => {
    const places = [inBranch(taken, 'b'), inBranch(other, 'b'), inBranch(taken, 'a')];
    const { values, notTaken } = await shown(BRANCHES, places, { x, c });
    expect(numbersOf(values.get(keyOf(inBranch(taken, 'b'))))).toEqual(b);
    // a is seen from the branch, and stands outside
    expect(numbersOf(values.get(keyOf(inBranch(taken, 'a'))))).toEqual([-1, -2]);
    expect([...notTaken]).toEqual([keyOf(inBranch(other, 'b'))]);
  },
);

const LOOP = `<ir_version: 8, opset_import: ["" : 17]>
g (float[2] x, int64 trips) => (float[2] y) <bool yes = {1}> {
  y = Loop (trips, yes, x) <
    body: graph = round (int64 i, bool go, float[2] v) => (bool more, float[2] w) {
      more = Identity (go)
      d = Add (v, v)
      w = Neg (d)
    }
  >
}`;
const inLoop: Place = { scope: [{ output: 'y', body: 'body' }], name: 'd' };

test('of a loop the first round is shown', async () => {
  const { values } = await shown(LOOP, [inLoop], { x, trips: intTensor([], [3]) });
  expect(values.get(keyOf(inLoop))?.shape).toEqual([2]);
  expect(numbersOf(values.get(keyOf(inLoop)))).toEqual([2, 4]);
});

test('a loop that is not entered shows nothing', async () => {
  const { values, notTaken } = await shown(LOOP, [inLoop], { x, trips: intTensor([], [0]) });
  expect(values.size).toBe(0);
  expect([...notTaken]).toEqual([keyOf(inLoop)]);
});
