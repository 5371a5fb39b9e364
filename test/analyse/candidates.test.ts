/** What looks like attention: a softmax that only the scale of quantized features reaches does not. */
import { Dataflow, findCandidates, Shapes } from '../../src/analyse';
import { load } from '../../src/ir';
import { parseModel } from '../../src/onnx';
import { textBytes } from '../support/models';
import { attentionText } from '../verify/support/attention-text';

/** An attention, and a router of experts in front of another product of activations. */
function candidates(router: string): string[] {
  const text = attentionText({
    constants:
      ', int8[8, 2] numbers = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, float[8, 2] gate = {...}',
    outputs: ', float[B, S, 2] z',
    map: `p = Identity (p0)
      h = MatMul (p, vt)
      ht = Transpose <perm = [0, 2, 1, 3]> (h)
      f = Reshape (ht, merge)
      ${router}
      ["router"] chosen = Softmax <axis = -1> (r)
      turned = Transpose <perm = [0, 2, 1]> (chosen)
      mixed = MatMul (turned, f)
      z = MatMul (f, gate)
      unread = Identity (mixed)`,
  });
  const model = load(parseModel(textBytes(text), { name: 'text.onnx' }));
  const dataflow = new Dataflow(model);
  return findCandidates(model, dataflow, new Shapes(model)).map(({ anchor }) => anchor.name);
}

test('a router whose features are quantized as it runs', () => {
  const quantized = `fq, fs, fz = DynamicQuantizeLinear (f)
    product = MatMulInteger (fq, numbers, fz)
    wide = Cast <to = 1> (product)
    r = Mul (wide, fs)`;
  expect(candidates(quantized)).toEqual(candidates('r = MatMul (f, gate)'));
  expect(candidates(quantized)).not.toContain('router');
});

test('a softmax of quantized scores is one all the same', () => {
  const scores = `fq, fs, fz = DynamicQuantizeLinear (f)
    again = DequantizeLinear (fq, fs, fz)
    ft = Transpose <perm = [0, 2, 1]> (again)
    r = MatMul (again, ft)`;
  expect(candidates(scores)).toContain('router');
});
