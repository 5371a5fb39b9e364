/** SPEC section 1: the epsilon of the sublayer norm is that of the RMSNorm that feeds the layer, else 1e-5. */
import { rewriteModel } from '../../src/api/rewrite';
import { ATTENTION, variant } from '../support/attention-text';
import { openExport } from '../support/fixtures';
import { rewriteText } from '../support/models';

/** ATTENTION behind nodes that make x from h. */
function behind(nodes: string, opset = 17): string {
  return variant(ATTENTION, [
    ['opset_import: ["" : 17,', `opset_import: ["" : ${opset},`],
    ['(float[B, S, 8] x) =>', '(float[B, S, 8] h) =>'],
    [
      '  float scale',
      '  float[8] gain = {1, 1, 1, 1, 1, 1, 1, 1}, float[8] shift = {0, 0, 0, 0, 0, 0, 0, 0},\n  float eps = {0.00025}, float two = {2}, float one = {1}, float minus_half = {-0.5},\n  float scale',
    ],
    ['> {\n', `> {\n${nodes}\n`],
  ]);
}

const mean = `
  squared = Pow (h, two)
  mean = ReduceMean <axes = [-1]> (squared)
  shifted = Add (mean, eps)`;

const norms: Record<string, string> = {
  'h * (1 / sqrt) * gain': `${mean}
    root = Sqrt (shifted)
    inverse = Div (one, root)
    normed = Mul (h, inverse)
    x = Mul (gain, normed)`,
  'h * reciprocal(sqrt) * gain': `${mean}
    root = Sqrt (shifted)
    inverse = Reciprocal (root)
    normed = Mul (h, inverse)
    x = Mul (normed, gain)`,
  'h / sqrt, squares by Mul, epsilon on the left': `
    squared = Mul (h, h)
    mean = ReduceMean <axes = [-1]> (squared)
    shifted = Add (eps, mean)
    root = Sqrt (shifted)
    x = Div (h, root)`,
  'h * pow(-0.5)': `${mean}
    inverse = Pow (shifted, minus_half)
    normed = Mul (h, inverse)
    x = Mul (gain, normed)`,
  'through casts': `${mean}
    root = Sqrt (shifted)
    inverse = Reciprocal (root)
    normed = Mul (h, inverse)
    half = Cast <to = 10> (normed)
    full = Cast <to = 1> (half)
    x = Mul (gain, full)`,
  SimplifiedLayerNormalization:
    'x = SimplifiedLayerNormalization <axis = -1, epsilon: float = 0.00025> (h, gain)',
};

test.each(Object.entries(norms))('%s', (_what, nodes) => {
  expect(rewriteText(behind(nodes)).layers[0]?.epsilon).toBeCloseTo(0.00025, 10);
});

test('RMSNormalization of opset 23', () => {
  const nodes = 'x = RMSNormalization <axis = -1, epsilon: float = 0.00025> (h, gain)';
  expect(rewriteText(behind(nodes, 23)).layers[0]?.epsilon).toBeCloseTo(0.00025, 10);
});

const others: Record<string, string> = {
  'a LayerNormalization': 'x = LayerNormalization <axis = -1, epsilon: float = 0.00025> (h, gain, shift)',
  'a layer norm written out': `
    middle = ReduceMean <axes = [-1]> (h)
    centred = Sub (h, middle)
    squared = Pow (centred, two)
    mean = ReduceMean <axes = [-1]> (squared)
    shifted = Add (mean, eps)
    root = Sqrt (shifted)
    normed = Div (centred, root)
    scaled = Mul (normed, gain)
    x = Add (scaled, shift)`,
  nothing: 'x = Identity (h)',
};

test.each(Object.entries(others))('behind %s it is 1e-5', (_what, nodes) => {
  expect(rewriteText(behind(nodes)).layers[0]?.epsilon).toBe(1e-5);
});

test('--norm-eps comes first, and without a norm there is none', () => {
  const text = behind(norms['h * (1 / sqrt) * gain'] ?? '');
  expect(rewriteText(text, { normEps: 1e-3 }).layers[0]?.epsilon).toBe(1e-3);
  expect(rewriteText(text, { sublayerNorm: false }).layers[0]?.epsilon).toBeUndefined();
});

test.each(['llama-dec-ts14-eager', 'llama-dec-dy18-sdpa', 'qwen2-dec-ts17-sdpa'])(
  '%s: that of the model',
  (name) => {
    const { layers } = rewriteModel(openExport(name).model);
    for (const { epsilon } of layers) expect(epsilon).toBeCloseTo(1e-6, 10);
  },
);
