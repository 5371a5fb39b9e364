/** SPEC section 2: a graph output that is the attention map returns A1 - mix * lambda * A2, h/2 heads in split mode. */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { differentialMap, pairMaps } from '../../src/verify/reference';
import { forms } from '../support/attention-forms';
import { line, variant } from '../support/attention-text';
import { randomFill } from '../support/fixtures';
import { exposing, modelPath, modelText, textBytes } from '../support/models';
import { asHeads, lambdaIn, secondFill } from '../support/reference';
import { expectClose, floatTensor, runModel, type Tensor } from '../support/run';

const [form] = forms;
if (!form) throw new Error('no form');
const HEADS = 2;
const x = floatTensor([2, 3, 8], randomFill(5)('x', 48));

const withMap = (map: string, text = form.text) =>
  variant(text, [['=> (float[B, S, 8] y)', `=> (float[B, S, 8] y, float[B, 2, S, S] ${map})`]]);

const texts = {
  'the probabilities themselves': withMap('A'),
  'a copy of them': variant(withMap('map'), [
    [line('attended'), `${line('attended')}\n["copy"] map = Identity (A)`],
  ]),
  'a map with the heads averaged away': variant(
    variant(form.text, [['=> (float[B, S, 8] y)', '=> (float[B, S, 8] y, float[B, S, S] mean)']]),
    [[line('attended'), `${line('attended')}\n["average"] mean = ReduceMean <axes = [1], keepdims = 0> (A)`]],
  ),
};

const modes: readonly RewriteFileSettings[] = [
  { sublayerNorm: false },
  { emit: 'inline' },
  { splitHeads: true, sublayerNorm: false },
  { splitHeads: true, emit: 'inline' },
];

describe.each(modes)('%j', (settings) => {
  test.each(['the probabilities themselves', 'a copy of them'] as const)('%s', async (what) => {
    const text = texts[what];
    const output = rewriteModel(modelPath(textBytes(text)), settings);
    const name = what === 'a copy of them' ? 'map' : 'A';
    const original = await runModel(textBytes(text), { x });
    const A = asHeads(original[name], 2, HEADS);
    const [A1_BHST, A2_BHST] = settings.splitHeads
      ? pairMaps(A, 'halves')
      : [
          A,
          asHeads(
            (await runModel(textBytes(text, secondFill(form, output.model, 8)), { x }))[name],
            2,
            HEADS,
          ),
        ];
    const expected = differentialMap({ A1_BHST, A2_BHST, lambda: lambdaIn(output.model), mix: 1 });
    const rewritten = await runModel(rewrittenBytes(output).read(), { x });
    expect(rewritten[name]?.shape).toEqual(expected.shape);
    expectClose(
      { map: rewritten[name] as Tensor },
      { map: floatTensor(expected.shape, expected.data) },
      1e-6,
    );
  });

  test('what is computed from the map is computed from the differential one', async () => {
    const output = rewriteModel(modelPath(textBytes(texts['a map with the heads averaged away'])), settings);
    const bytes = rewrittenBytes(output).read();
    const { mean } = await runModel(bytes, { x });
    const lambda = lambdaIn(output.model);
    // rows of a map sum to 1, those of a differential one to 1 - lambda
    const row = Array.from(mean?.data as Float32Array).slice(0, 3);
    expect(row.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1 - lambda, 4);
  });
});

test('the declared heads of the output are those that it has', async () => {
  const output = rewriteModel(modelPath(textBytes(texts['the probabilities themselves'])), {
    splitHeads: true,
  });
  expect(modelText(output.model)).toContain('float[B, 1, S, S] A)');
});

test('a map that nobody asks for is not computed', () => {
  const { model } = rewriteModel(modelPath(textBytes(form.text)));
  expect(model.newFunctions[0]?.output).toEqual(['C']);
});

test('one layer with a map, one without: the function serves both', async () => {
  const second = (text: string) => text.replaceAll('layers.0', 'layers.1');
  const [body = ''] = form.text.match(/> \{\n.*(?=\n\})/s) ?? [];
  const nodes = second(body.slice(4))
    .replaceAll(/\["(\w+)"\]/g, '["second_$1"]')
    .replaceAll(/\b(q|k|v|[qkvC]_BSHD|C_BSE|Q|K|V|raw|S|A|C|y)\b(?=[ ,)])/g, '$1_2')
    .replaceAll('(x,', '(y,');
  const weights = (form.text.match(/ {2}float\[8, 8\] "layers.0.*?\n/g) ?? []).map(second).join('');
  const text = variant(form.text, [
    ['=> (float[B, S, 8] y)', '=> (float[B, S, 8] y_2, float[B, 2, S, S] A_2)'],
    ['  int64[4] split', `${weights}  int64[4] split`],
    [body, `${body}\n${nodes}`],
  ]);
  const output = rewriteModel(modelPath(textBytes(text)), { init: 'preserve' });
  expect(output.layers.map(({ path }) => path)).toEqual(['layers.0.attn', 'layers.1.attn']);
  const names = ['y_2', 'C'];
  const expected = await runModel(exposing(textBytes(text), names), { x }, { outputs: names });
  const actual = await runModel(exposing(rewrittenBytes(output).read(), names), { x }, { outputs: names });
  expectClose(actual, expected, 1e-5);
});
