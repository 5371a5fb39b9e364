/**
 * Models that do not run on every input, since what they compute leads somewhere that was never traced: experts that no
 * token goes to, say. They are verified with the inputs on which they run, and the rest is named.
 */
import { verifyModels } from '../../src/api/verify';
import { CheckBuilder, isUnproven } from '../../src/verify/report';
import { ATTENTION, variant } from '../support/attention-text';
import { modelPath, textBytes } from '../support/models';
import { Draft } from './support/draft';
import { checkOf, findingsOf, pairOfModel } from './support/pairs';

/** Behind the attention, how large the largest number is says which row of a table is added; there are as many as rows are given. */
const routed = (rows: number) =>
  variant(ATTENTION, [
    [
      '"layers.0.attn.o_proj.weight" = {...},',
      `"layers.0.attn.o_proj.weight" = {...}, float[${rows}, 8] table = {...}, float often = {1.5}, float far = {9},`,
    ],
    [
      'y = MatMul (C_BSE, "layers.0.attn.o_proj.weight")',
      `o = MatMul (C_BSE, "layers.0.attn.o_proj.weight")
  most = ReduceMax <keepdims = 0> (o)
  rest = Sub (far, most)
  scaled_most = Mul (rest, often)
  row = Cast <to = 7> (scaled_most)
  ["route"] added = Gather (table, row)
  ["added"] y = Add (o, added)`,
    ],
  ]);

/** Enough for the original with most inputs, and not for all that differential attention gives. */
const model = modelPath(textBytes(routed(8), 5));

test.each([
  [{ init: 'preserve' }, false],
  [{}, true],
  [{ sublayerNorm: true }, true],
] as const)('%j: verified with what runs, and what does not is named', async (settings, leadsElsewhere) => {
  const { original, rewritten } = pairOfModel(model, settings);
  const report = await verifyModels(original, rewritten);
  expect(findingsOf(report)).toEqual([]);
  const { inputs } = checkOf(report, 'layers');
  expect(inputs).toBe(report.cases.length);
  expect(inputs).toBeGreaterThan(2);
  expect(report.notVerified.join()).toMatch(/the original itself does not run: .*'route'/);
  expect(report.notVerified.some((line) => line.includes('as a whole'))).toBe(leadsElsewhere);
});

test('one that runs with no input, though each of its attentions is right, is not proven', async () => {
  const { original, rewritten } = pairOfModel(model, {
    splitHeads: true,
    sublayerNorm: true,
    init: 'mirror',
  });
  const report = await verifyModels(original, rewritten);
  expect(report.passed).toBe(false);
  expect(report.checks.filter(({ passed }) => !passed).every(isUnproven)).toBe(true);
  expect(findingsOf(report).join()).toMatch(/runs with no input/);
});

test('a rewritten model that keeps the function and does not run where the original does is wrong', async () => {
  const { original, rewritten } = pairOfModel(model, { init: 'preserve' });
  const draft = new Draft(rewritten);
  draft.setBytes('often', new Uint8Array(Float32Array.of(2).buffer));
  const report = await verifyModels(original, draft.write());
  const { findings } = checkOf(report, 'layers');
  expect(findings.some(({ message, unproven }) => !unproven && message.includes("'route'"))).toBe(true);
});

test('one that gives another function, and does not run whatever its attentions give, is wrong', async () => {
  const { original, rewritten } = pairOfModel(model, { sublayerNorm: true });
  const draft = new Draft(rewritten);
  draft.setBytes('often', new Uint8Array(Float32Array.of(9).buffer));
  const { findings } = checkOf(await verifyModels(original, draft.write()), 'layers');
  expect(findings.some(({ message, unproven }) => !unproven && message.includes("'route'"))).toBe(true);
});

test('where all is NaN, that is said, and nothing is called wrong', async () => {
  const text = variant(ATTENTION, [
    ['  ["softmax"] A', '  ["nothing"] N = Sqrt (below)\n  ["none"] S2 = Mul (S, N)\n  ["softmax"] A'],
    ['Softmax <axis = -1> (S)', 'Softmax <axis = -1> (S2)'],
    ['float scale = {0.5}', 'float scale = {0.5}, float below = {-1}'],
  ]);
  const { original, rewritten } = pairOfModel(modelPath(textBytes(text)), {});
  await expect(verifyModels(original, rewritten)).rejects.toMatchObject({
    code: 'nothing-comparable',
    exitCode: 2,
  });
});

test('a check that runs with too few inputs proves nothing, and says why', () => {
  const check = new CheckBuilder('mirrored', '');
  check.count();
  check.ranOn('a');
  check.leaveOut('b', 'no expert');
  expect(check.done()).toMatchObject({
    passed: true,
    inputs: 1,
    leftOut: [{ input: 'b', reason: 'no expert' }],
  });
  check.leaveOut('c', 'no expert');
  const done = check.done();
  expect(done).toMatchObject({ passed: false, inputs: 1 });
  expect(done.findings).toEqual([
    { message: 'ran on 1 of 3 inputs only: no expert', layer: undefined, unproven: true },
  ]);
  expect(isUnproven(done)).toBe(true);
  check.find('wrong');
  expect(isUnproven(check.done())).toBe(false);
});
