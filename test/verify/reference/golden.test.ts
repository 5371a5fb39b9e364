import { DataType } from '../../../src/onnx/data-types';
import { decodeFloats } from '../../../src/onnx/floats';
import { openSafetensors } from '../../../src/weights/checkpoint';
import { goldenNames, openGolden } from '../../support/fixtures';
import { goldenLogits } from './llama';

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] as number))), 0);
}

/** Logits of up to 10 in float32 after three layers. */
const ROUNDING = 2e-5;

test.each(goldenNames())('a Llama around the reference gives the logits of %s', (name) => {
  const golden = openGolden(name);
  const logits = openSafetensors(golden.io).get('output.logits');
  if (!logits) throw new Error('no logits');
  const computed = goldenLogits(golden);
  expect(computed.shape).toEqual(logits.shape);
  expect(largestDifference(computed.data, decodeFloats(DataType.FLOAT, logits.data.read()))).toBeLessThan(
    ROUNDING,
  );
});
