/** Large numbers: what is finite in the original stays so. */
import { verifyModels } from '../../src/api/verify';
import { DataType } from '../../src/onnx';
import { checkOverflow } from '../../src/verify/check-overflow';
import { CheckBuilder } from '../../src/verify/report';
import { checkOf, findingsOf, pairOf } from './support/pairs';

test('what is not finite is found, output by output', () => {
  const check = new CheckBuilder('overflow', '');
  const y = {
    dtype: DataType.FLOAT,
    shape: [3],
    data: Float32Array.of(1, Number.NaN, Number.POSITIVE_INFINITY),
  };
  checkOverflow(
    [{ where: 'here', feeds: {}, outputs: {} }],
    [{ x: { ...y, data: Float32Array.of(1, 2, 3) }, y }],
    check,
  );
  expect(check.findings.map(({ message }) => message)).toEqual([
    "output 'y': 2 elements are not finite (here)",
  ]);
});

test('a float16 model with a cache is run with large numbers where the function is kept, and not otherwise', async () => {
  const few = { batches: [1] };
  const kept = pairOf('llama-past-dy18-sdpa+fp16', { init: 'preserve' });
  const report = await verifyModels(kept.original, kept.rewritten, few);
  expect(findingsOf(report)).toEqual([]);
  expect(checkOf(report, 'overflow').compared).toBeGreaterThan(0);
  expect(report.cases).toContain('batch 1, length 16, past 6, large numbers');
  const random = pairOf('llama-past-dy18-sdpa+fp16');
  const other = await verifyModels(random.original, random.rewritten, few);
  expect(other.checks.map(({ name }) => name)).not.toContain('overflow');
  expect(other.cases.join()).not.toContain('large numbers');
});
