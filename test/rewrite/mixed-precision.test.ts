/** A model that computes one layer in float32 and the next in float16: each has a function of its own type. */
import { type RewriteFileSettings, rewriteModel } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { modelPath, textBytes } from '../support/models';
import { findingsOf, pairOfModel } from '../verify/support/pairs';

const weights = (index: number, type: string) =>
  ['q', 'k', 'v', 'o']
    .map((side) => `  ${type}[8, 8] "layers.${index}.attn.${side}_proj.weight" = {...}`)
    .join(',\n');

const layer = (index: number, input: string, output: string) => `
  q${index} = MatMul (${input}, "layers.${index}.attn.q_proj.weight")
  k${index} = MatMul (${input}, "layers.${index}.attn.k_proj.weight")
  v${index} = MatMul (${input}, "layers.${index}.attn.v_proj.weight")
  q${index}_BSHD = Reshape (q${index}, split)
  k${index}_BSHD = Reshape (k${index}, split)
  v${index}_BSHD = Reshape (v${index}, split)
  Q${index} = Transpose <perm = [0, 2, 1, 3]> (q${index}_BSHD)
  K${index} = Transpose <perm = [0, 2, 3, 1]> (k${index}_BSHD)
  V${index} = Transpose <perm = [0, 2, 1, 3]> (v${index}_BSHD)
  raw${index} = MatMul (Q${index}, K${index})
  S${index} = Mul (raw${index}, scale${index})
  A${index} = Softmax <axis = -1> (S${index})
  C${index} = MatMul (A${index}, V${index})
  C${index}_BSHD = Transpose <perm = [0, 2, 1, 3]> (C${index})
  C${index}_BSE = Reshape (C${index}_BSHD, merged)
  ${output} = MatMul (C${index}_BSE, "layers.${index}.attn.o_proj.weight")`;

const TEXT = `<ir_version: 8, opset_import: ["" : 17]>
g (float[B, S, 8] x) => (float[B, S, 8] out) <
${weights(0, 'float')},
${weights(1, 'float16')},
  int64[4] split = {0, 0, 2, 4},
  int64[3] merged = {0, 0, 8},
  float scale0 = {0.5},
  float16 scale1 = {0.5}
> {
${layer(0, 'x', 'y')}
  h = Cast <to = 10> (y)
${layer(1, 'h', 'z')}
  out = Cast <to = 1> (z)
}`;

const model = modelPath(textBytes(TEXT));

test('functions are told apart by their element type', () => {
  const { model: rewritten, layers } = rewriteModel(model);
  expect(layers).toHaveLength(2);
  expect(rewritten.newFunctions.map(({ name }) => name)).toEqual([
    'DifferentialAttention',
    'DifferentialAttention_float16',
  ]);
});

test.each<RewriteFileSettings>([{}, { emit: 'inline' }, { splitHeads: true }, { init: 'preserve' }])(
  '%j: runs, and is verified',
  async (settings) => {
    const { original, rewritten } = pairOfModel(model, settings);
    expect(findingsOf(await verifyModels(original, rewritten))).toEqual([]);
  },
);
