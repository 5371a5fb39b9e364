/** Gemm as a projection: what its factors scale. Keras models converted by tf2onnx have a beta without a third input. */
import { ATTENTION, line, variant } from '../support/attention-text';
import { rewriteText, thrownBy } from '../support/models';

function withGemm(attributes: string, inputs: string): string {
  const gemm = `["flat"] x2 = Reshape (x, flat)
    ["q_proj"] q2 = Gemm <${attributes}> (x2, ${inputs})
    ["back"] q = Reshape (q2, like)`;
  return variant(ATTENTION, [
    [line('q_proj'), gemm],
    [
      '  float scale',
      '  int64[2] flat = {-1, 8}, int64[3] like = {1, -1, 8}, float[8] bias = {...},\n  float scale',
    ],
  ]);
}

const WEIGHT = '"layers.0.attn.q_proj.weight"';

test('beta scales nothing where nothing is added', () => {
  expect(rewriteText(withGemm('beta: float = 0.0', WEIGHT)).layers).toHaveLength(1);
});

test('a bias that is scaled is not a bias', () => {
  const { reasons } = thrownBy(() => rewriteText(withGemm('beta: float = 0.5', `${WEIGHT}, bias`)));
  expect(reasons).toEqual(['projection-form']);
});
