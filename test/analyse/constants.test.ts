/** Constants are read however an exporter writes them, and only where they are small. */
import { constantSource, constantTensor, smallConstant } from '../../src/analyse';
import { textModel, valueNamed } from '../support/models';

const TEXT = `
  g (float[2] x, float[2] given) => (float[2] y) <
    float scalar = {0.5}, float16[2] halfs = {1.0, -0.25}, bfloat16[2] brains = {1.5, -2.0}, double precise = {0.1},
    int32[2] ints = {-1, 2}, bool[2] flags = {1, 0}, int8[2] bytes = {-3, 4}, int64[1] vector = {7}, float[65] large = {...},
    float[2] given = {1, 2}
  > {
    direct = Constant <value = float[2] {1, 2}> ()
    one = Constant <value_int: int = 5> ()
    half = Constant <value_float: float = 0.5> ()
    several = Constant <value_ints: ints = [1, 2]> ()
    fractions = Constant <value_floats: floats = [0.5, 1.5]> ()
    alias = Identity (scalar)
    alias2 = Identity (alias)
    whole = Cast <to = 7> (fractions)
    computed = Add (scalar, scalar)
    y = Add (x, x)
  }`;
const model = textModel(TEXT, 3);

test.each([
  ['scalar', [], [0.5]],
  ['halfs', [2], [1, -0.25]],
  ['brains', [2], [1.5, -2]],
  ['precise', [], [0.1]],
  ['ints', [2], [-1, 2]],
  ['flags', [2], [1, 0]],
  ['bytes', [2], [-3, 4]],
  ['vector', [1], [7]],
  ['direct', [2], [1, 2]],
  ['one', [], [5]],
  ['half', [], [0.5]],
  ['several', [2], [1, 2]],
  ['fractions', [2], [0.5, 1.5]],
  ['alias2', [], [0.5]],
  ['whole', [2], [0, 1]],
])('%s', (name, shape, values) => {
  expect(smallConstant(model, valueNamed(model, name))).toMatchObject({ shape, values });
});

// A default of an input is what is used when nothing is fed: not known before the model runs.
test.each(['x', 'large', 'computed', 'given'])('%s is no small constant', (name) => {
  expect(smallConstant(model, valueNamed(model, name))).toBeUndefined();
});

test('a weight of any size is a constant, behind Identity too', () => {
  expect(constantTensor(valueNamed(model, 'large'))?.name).toBe('large');
  expect(constantTensor(valueNamed(model, 'alias2'))?.name).toBe('scalar');
  expect(constantTensor(valueNamed(model, 'given'))).toBeUndefined();
  expect(constantSource(valueNamed(model, 'alias2')).name).toBe('scalar');
});
