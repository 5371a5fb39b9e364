/** SPEC section 2: a model that is differential already is refused with exit code 2, whoever wrote it. */
import { rewriteModel } from '../../src/api/rewrite';
import { derive, encode, parseModel } from '../../src/onnx';
import { ATTENTION, line, variant } from '../support/attention-text';
import { openExport } from '../support/fixtures';
import { modelPath, rewriteText, rewriteToBytes, thrownBy } from '../support/models';

const refused = { code: 'already-differential', exitCode: 2 };

/** Four heads of width 2 in two halves. */
const HALVES = variant(ATTENTION, [
  [
    'split = {0, 0, 2, 4}',
    'split = {0, 0, 4, 2}, int64[4] wide = {0, 0, 2, 4}, int64[2] two = {2, 2}, float lambda = {0.3}',
  ],
  [line('v_split'), '["v_split"] v_BSHD = Reshape (v, wide)'],
]);

test('(A V)[:h/2] - lambda * (A V)[h/2:], as transformers writes DiffLlama', () => {
  const text = variant(HALVES, [
    [
      line('attended'),
      `["double"] VV = Concat <axis = 1> (V, V)
       ["attended"] both = MatMul (A, VV)
       ["parts"] C1, C2 = Split <axis = 1> (both, two)
       ["weighted"] C3 = Mul (C2, lambda)
       ["difference"] C = Sub (C1, C3)`,
    ],
  ]);
  const error = thrownBy(() => rewriteText(text));
  expect(error).toMatchObject(refused);
  expect(error.message).toContain("'difference' subtracts one attention from another");
});

// What subtracts the maps, as unilm's and axolotl's code does (and diffx with --emit inline), before the product with V.
describe('differences of maps', () => {
  test('(A[:h/2] - lambda * A[h/2:]) V, as unilm writes Diff-Transformer', () => {
    const text = variant(HALVES, [
      [
        line('attended'),
        `["parts"] A1, A2 = Split <axis = 1> (A, two)
         ["weighted"] A3 = Mul (A2, lambda)
         ["difference"] map = Sub (A1, A3)
         ["attended"] C = MatMul (map, V)`,
      ],
    ]);
    expect(thrownBy(() => rewriteText(text))).toMatchObject(refused);
  });

  test('(A1 - lambda * A2) V, as axolotl writes it', () => {
    const text = variant(ATTENTION, [
      ['  float scale', '  float lambda = {0.3},\n  float[8, 8] q2_weight = {...},\n  float scale'],
      [
        line('attended'),
        `["q2_proj"] q2 = MatMul (x, q2_weight)
         ["q2_split"] q2_BSHD = Reshape (q2, split)
         ["q2_heads"] Q2 = Transpose <perm = [0, 2, 1, 3]> (q2_BSHD)
         ["scores2"] raw2 = MatMul (Q2, K)
         ["softmax2"] A2 = Softmax <axis = -1> (raw2)
         ["weighted"] A3 = Mul (A2, lambda)
         ["difference"] map = Sub (A, A3)
         ["attended"] C = MatMul (map, V)`,
      ],
    ]);
    expect(thrownBy(() => rewriteText(text))).toMatchObject(refused);
  });

  test('what diffx wrote inline, without its metadata', () => {
    const { proto } = parseModel(rewriteToBytes(openExport('llama-dec-ts17-sdpa').model, { emit: 'inline' }));
    const stripped = modelPath(encode('ModelProto', derive(proto, { metadataProps: [] })).read());
    expect(thrownBy(() => rewriteModel(stripped))).toMatchObject(refused);
  });
});

// What looks alike and is none.
test('a difference of an attention and something else is no differential attention', () => {
  const text = variant(ATTENTION, [
    [
      line('o_proj'),
      `${line('o_proj').replace('y =', 'y0 =')}\n["scaled_x"] x2 = Mul (x, scale)\n["minus"] y = Sub (y0, x2)`,
    ],
  ]);
  expect(rewriteText(text).layers).toHaveLength(1);
});
