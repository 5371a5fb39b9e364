/** What is written is valid in the operator set of the model, from 13 (the oldest that diffx takes) to the newest. */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { ATTENTION, variant } from '../support/attention-text';
import { randomFill } from '../support/fixtures';
import { modelPath, rewriteText, textBytes, thrownBy } from '../support/models';
import { expectClose, floatTensor, runModel } from '../support/run';

const x = floatTensor([2, 3, 8], randomFill(5)('x', 48));
const ofOpset = (opset: number) => variant(ATTENTION, [['["" : 17,', `["" : ${opset},`]]);

const modes: readonly RewriteFileSettings[] = [
  {},
  { emit: 'inline' },
  { splitHeads: true },
  { preset: 'paper' },
  { preset: 'diffllama', emit: 'inline' },
  { preset: 'v2' },
  { preset: 'v2', init: 'preserve', emit: 'inline' },
];

describe.each([13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24])('opset %i', (opset) => {
  test.each(modes)('%j gives what it gives in opset 17', async (settings) => {
    const { y } = await runModel(rewrittenBytes(rewriteText(ofOpset(opset), settings)).read(), { x });
    const { y: expected } = await runModel(rewrittenBytes(rewriteText(ofOpset(17), settings)).read(), { x });
    if (!y || !expected) throw new Error('no output');
    expectClose({ y }, { y: expected }, 1e-6);
  });
});

test.each([7, 11, 12])('opset %i is too old: exit code 2, with the number', (opset) => {
  const error = thrownBy(() => rewriteModel(modelPath(textBytes(ofOpset(opset)))));
  expect(error).toMatchObject({ code: 'opset-too-old', exitCode: 2 });
  expect(error.message).toContain(`uses operator set ${opset}, diffx needs 13 or newer`);
});
