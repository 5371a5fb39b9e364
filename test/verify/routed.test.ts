/**
 * Models that do not run on every input, since what they compute leads somewhere that was never traced: experts that no
 * token goes to, say. They are verified with the inputs on which they run, and the rest is named.
 */
import { verifyModels } from '../../src/api/verify';
import { isUnproven } from '../../src/verify/report';
import { ATTENTION, variant } from '../support/attention-text';
import { modelPath, textBytes } from '../support/models';
import { Draft } from './support/draft';
import { checkOf, failedChecks, findingsOf, pairOfModel } from './support/pairs';

/** Behind the attention, the largest number says which row of a table is added; there are as many as rows are given. */
const routed = (rows: number) =>
  variant(ATTENTION, [
    [
      '"layers.0.attn.o_proj.weight" = {...},',
      `"layers.0.attn.o_proj.weight" = {...}, float[${rows}, 8] table = {...}, float often = {1.5},`,
    ],
    [
      'y = MatMul (C_BSE, "layers.0.attn.o_proj.weight")',
      `o = MatMul (C_BSE, "layers.0.attn.o_proj.weight")
  most = ReduceMax <keepdims = 0> (o)
  scaled_most = Mul (most, often)
  row = Cast <to = 7> (scaled_most)
  ["route"] added = Gather (table, row)
  ["added"] y = Add (o, added)`,
    ],
  ]);

/** Enough for the original with most inputs, and not for what differential attention gives. */
const ROWS = 4;

const model = modelPath(textBytes(routed(ROWS), 5));

test.each([
  [{ init: 'preserve' }],
  [{ init: 'preserve', sublayerNorm: true }],
  [{ init: 'mirror' }],
  [{ init: 'zero' }],
  [{ init: 'mirror', splitHeads: true }],
  [{ preset: 'v2' }],
] as const)('%j: verified with what runs', async (settings) => {
  const { original, rewritten } = pairOfModel(model, settings);
  const report = await verifyModels(original, rewritten);
  expect(findingsOf(report)).toEqual([]);
  console.log(
    JSON.stringify(settings),
    report.notVerified,
    report.checks.map(({ name, inputs, leftOut }) => [name, inputs, leftOut.length].join()),
  );
});
