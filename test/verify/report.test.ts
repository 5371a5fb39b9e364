import { DataType } from '../../src/onnx/data-types';
import { compareTensors } from '../../src/verify/compare';
import { CheckBuilder } from '../../src/verify/report';
import type { Tensor } from '../../src/verify/tensor';

const float = (...values: number[]): Tensor => ({
  dtype: DataType.FLOAT,
  shape: [values.length],
  data: Float32Array.from(values),
});
const builder = () => new CheckBuilder('layers', 'everything is well');

test('a check that compared nothing does not pass', () => {
  expect(builder().done()).toMatchObject({ passed: false, compared: 0, findings: [], maxAbs: undefined });
});

test('a check passes with something compared and nothing found', () => {
  const check = builder();
  check.count(3);
  expect(check.done()).toMatchObject({ passed: true, compared: 3 });
});

test('a finding counts as compared, names its layer and fails the check', () => {
  const check = builder();
  check.find('wrong', 'layers.1');
  expect(check.done()).toMatchObject({
    passed: false,
    compared: 1,
    findings: [{ message: 'wrong', layer: 'layers.1' }],
  });
});

test('what every input shows is found once', () => {
  const check = builder();
  check.findOnce('missing');
  check.findOnce('missing');
  expect(check.done().findings).toHaveLength(1);
});

test('the worst comparison is kept under each label, the first that fails is found', () => {
  const check = builder();
  check.compare('C', compareTensors(float(1), float(1.00001)), 'first');
  check.compare('C', compareTensors(float(1), float(2)), 'second', 'layers.0');
  check.compare('C', compareTensors(float(1), float(4)), 'third', 'layers.0');
  check.compare('D', compareTensors(float(1), float(1)), 'first');
  const { comparisons, findings, compared, maxAbs } = check.done();
  expect(comparisons['C']?.maxAbs).toBe(3);
  expect(comparisons['D']?.maxAbs).toBe(0);
  expect(findings.map(({ message }) => message)).toEqual([
    'C: 1 elements differ, by up to 1.00e+0 at [0]: expected 1, got 2 (second)',
  ]);
  expect({ compared, maxAbs }).toEqual({ compared: 4, maxAbs: 3 });
});

test('NaN on both sides is no comparison', () => {
  const check = builder();
  check.compare('C', compareTensors(float(Number.NaN), float(Number.NaN)), 'a masked row');
  check.compare('D', compareTensors(float(), float()), 'nothing at all');
  expect(check.done()).toMatchObject({ passed: false, compared: 0, comparisons: {} });
});

test('NaN on one side is a finding', () => {
  const check = builder();
  check.compare('C', compareTensors(float(1), float(Number.NaN)), 'here');
  expect(check.done().findings[0]?.message).toMatch(/1 of them NaN or infinite on one side/);
});

test('what is awaited must be compared', () => {
  const check = builder();
  check.await('C', 'layers.0');
  check.await('D', 'layers.1');
  check.compare('C', compareTensors(float(1), float(1)), 'here');
  expect(check.done().findings).toEqual([
    { message: 'D: was not compared with any input', layer: 'layers.1', unproven: true },
  ]);
});

test('what is given up is no longer awaited', () => {
  const check = builder();
  check.await('C');
  check.count();
  expect(check.giveUp()).toEqual(['C']);
  expect(check.done().passed).toBe(true);
});

test('the tolerance in the report is the loosest that was used', () => {
  const check = builder();
  check.compare('C', compareTensors(float(1), float(1), { atol: 1, rtol: 0 }), 'here');
  check.compare('C', compareTensors(float(1), float(1), { atol: 0.5, rtol: 0 }), 'there');
  expect(check.done().tolerance).toEqual({ atol: 1, rtol: 0 });
});
