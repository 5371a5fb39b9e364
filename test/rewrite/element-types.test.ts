/** Scores, map, values and result are each computed in the type that the graph says, with Casts in every place. */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { modelPath, textBytes } from '../support/models';
import { floatTensor, largestDifference, runModel } from '../support/run';
import { type Core, type Places, type TypeName, typedAttention } from '../support/typed-attention';
import { findingsOf, pairOfModel } from '../verify/support/pairs';

const ALL: readonly (keyof Places)[] = ['ends', 'weights', 'layers', 'scores', 'softmax', 'values'];

const same = (type: TypeName): Places => ({
  ends: type,
  weights: type,
  layers: type,
  scores: type,
  softmax: type,
  values: type,
});

/** Each place alone in another type than the rest, and what exporters and converters write. */
const places: Record<string, Places> = {
  ...Object.fromEntries(
    ALL.flatMap((place): [string, Places][] => [
      [`${place} in float16, the rest in float32`, { ...same('float'), [place]: 'float16' }],
      [`${place} in float32, the rest in float16`, { ...same('float16'), [place]: 'float' }],
    ]),
  ),
  'a model in float16 whose softmax and values are float32': {
    ...same('float16'),
    softmax: 'float',
    values: 'float',
  },
  'a map that is cast to float16 and back': { ...same('float'), detour: 'float16' },
  'everything in another type': {
    ends: 'float',
    weights: 'float16',
    layers: 'float',
    scores: 'float16',
    softmax: 'double',
    values: 'float',
  },
  float64: same('double'),
  'float32 in a float64 model': { ...same('double'), scores: 'float', softmax: 'float' },
  'bfloat16 whose softmax is float32': { ...same('bfloat16'), softmax: 'float' },
  'bfloat16 beside float16': { ...same('bfloat16'), values: 'float16', softmax: 'float' },
};

const modes: readonly RewriteFileSettings[] = [
  {},
  { emit: 'inline', init: 'mirror', mixInput: true },
  { splitHeads: true },
  { preset: 'paper', emit: 'inline' },
  { preset: 'v2' },
  { preset: 'v2', init: 'preserve', emit: 'inline' },
  { init: 'preserve' },
];
const cores: readonly Core[] = ['plain', 'masked', 'two-products', 'operator'];

/** Every place with every core, in modes that take turns: the product of all would be hours. */
const cases = Object.entries(places).flatMap(([what, where], row) =>
  cores.flatMap((core, column) => {
    // ONNX Runtime's operator has no float64, and what several products weigh cannot be split.
    if ((row + column) % 2 === 1 || (core === 'operator' && where.values === 'double')) return [];
    const fitting = modes.filter(({ splitHeads, preset }) => {
      const splits = splitHeads === true || preset === 'paper';
      return core !== 'two-products' || !splits;
    });
    const mode = fitting[((row + column / 2) % fitting.length) | 0] ?? {};
    return [{ what, core, mode, where }];
  }),
);

test.each(cases)('$what: $core, $mode', async ({ core, mode, where }) => {
  const original = modelPath(textBytes(typedAttention({ places: where, core })));
  const { rewritten } = pairOfModel(original, mode);
  expect(findingsOf(await verifyModels(original, rewritten))).toEqual([]);
});

const x = floatTensor(
  [2, 3, 16],
  Array.from({ length: 96 }, (_, index) => Math.sin(index)),
);

test.each(Object.entries(places).filter(([what]) => !what.startsWith('bfloat16')))(
  '%s: preserve gives what the original gives',
  async (_, where) => {
    const original = textBytes(typedAttention({ places: where, core: 'plain', map: true }));
    const rewritten = rewrittenBytes(rewriteModel(modelPath(original), { init: 'preserve' })).read();
    const [expected, actual] = [await runModel(original, { x }), await runModel(rewritten, { x })];
    const narrow = Object.values(where).includes('float16');
    expect(largestDifference(expected['y'], actual['y'])).toBeLessThan(narrow ? 2e-2 : 1e-5);
  },
);

test('layers of one form whose types differ call functions of their own', () => {
  const text = typedAttention({ places: { ...same('float16'), values: 'float' }, core: 'plain' });
  const { model } = rewriteModel(modelPath(textBytes(text)), { emit: 'function', preset: 'v2' });
  const [fn] = model.newFunctions;
  const casts = fn?.node.filter(({ opType }) => opType === 'Cast').map(({ input }) => input[0]);
  // logits in float16, which the input is; lambda in float32, which the map is
  expect(casts).toEqual(['lambda_logits']);
  const tensor = model.graph.values.get('layers.0.attn.lambda_proj.weight')?.initializer;
  expect(tensor?.dataType).toBe(10);
});
