/** Rows of padding whose scores are rounded to the steps of large numbers: verified, and what is wrong there is found. */
import { verifyModels } from '../../src/api/verify';
import { DataType } from '../../src/onnx';
import { encodeFloats } from '../../src/onnx/floats';
import { ATTENTION, variant } from '../support/attention-text';
import { modelPath, textBytes } from '../support/models';
import { Draft } from './support/draft';
import { findingsOf, pairOfModel } from './support/pairs';

/** Behind the operator, split: the rewrite writes its scores out. */
const OPERATOR = variant(ATTENTION, [
  ['"" : 17', '"" : 23'],
  ['<ir_version: 8', '<ir_version: 10'],
  ['(float[B, S, 8] x)', '(float[B, 4, 8] x, float[B, 1, 4, 4] attention_mask)'],
  ['["k_heads"] K = Transpose <perm = [0, 2, 3, 1]>', '["k_heads"] K = Transpose <perm = [0, 2, 1, 3]>'],
  ['  ["scores"] raw = MatMul (Q, K)\n', ''],
  ['  ["scaled"] S = Mul (raw, scale)\n', ''],
  ['  ["softmax"] A = Softmax <axis = -1> (S)\n', ''],
  ['["attended"] C = MatMul (A, V)', '["attended"] C = Attention (Q, K, V, attention_mask)'],
]);

/** Written out, with duplicate heads: the function gets queries, keys and the mask. */
const WRITTEN_OUT = variant(ATTENTION, [
  ['(float[B, S, 8] x)', '(float[B, 4, 8] x, float[B, 1, 1, 4] attention_mask)'],
  [
    '["softmax"] A = Softmax <axis = -1> (S)',
    '["masked"] M = Add (S, attention_mask)\n  ["softmax"] A = Softmax <axis = -1> (M)',
  ],
]);

const half = (text: string) => text.replaceAll('float', 'float16');

const models = [
  ['the operator, split', OPERATOR, { splitHeads: true }],
  ['written out', WRITTEN_OUT, {}],
  ['written out, inline', WRITTEN_OUT, { emit: 'inline', init: 'preserve' }],
  ['the operator, split, float16', half(OPERATOR), { splitHeads: true }],
  ['written out, float16', half(WRITTEN_OUT), {}],
] as const;

describe.each(models)('%s', (_, text, settings) => {
  const { original, rewritten } = pairOfModel(modelPath(textBytes(text, 5)), settings);

  test('is verified with a row of padding', async () => {
    const report = await verifyModels(original, rewritten);
    expect(findingsOf(report)).toEqual([]);
    expect(report.cases.join()).toContain('a row of padding');
  });

  /** A mask that falls from key to key where it is -10000, and is 0 as before where it is 0. */
  test('a mask that is not the same for all keys of that row is found, and seen there alone', async () => {
    const draft = new Draft(rewritten);
    const slope = text.includes('float16') ? [1, 1.01, 1.02, 1.03] : [1, 1.000001, 1.000002, 1.000003];
    const type = text.includes('float16') ? DataType.FLOAT16 : DataType.FLOAT;
    const bytes = encodeFloats(type, Float32Array.from(slope));
    draft.addInitializer('slope', 'layers.0.attn.o_proj.weight', [4], bytes);
    for (const node of [...draft.nodes]) {
      if (!node.input.includes('attention_mask')) continue;
      const steep = draft.insertBefore(node, 'Mul', ['attention_mask', 'slope']);
      node.input = node.input.map((input) => (input === 'attention_mask' ? steep : input));
    }
    const report = await verifyModels(original, draft.write());
    const found = findingsOf(report);
    expect({ passed: report.passed, found }).toMatchObject({ passed: false });
    expect(found.filter((each) => each.startsWith('layers:')).join()).toMatch(/a row of padding/);
  });
});
