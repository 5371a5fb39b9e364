/** A model that draws random numbers cannot be compared with anything: that is said of it, and no bug is looked for. */
import { verifyModels } from '../../src/api/verify';
import { modelPath, textBytes } from '../support/models';
import { attentionText } from './support/attention-text';
import { findingsOf, pairOfModel } from './support/pairs';

const noisy = (volume: string) =>
  pairOfModel(
    modelPath(
      textBytes(
        attentionText({
          constants: `, float volume = {${volume}}`,
          before:
            '["noise"] n = RandomUniformLike <seed: float = 1> (a0) d = Mul (n, volume) x = Add (a0, d)',
        }),
      ),
    ),
    { init: 'preserve' },
  );

test('random numbers that reach the outputs', async () => {
  const { original, rewritten } = noisy('1');
  await expect(verifyModels(original, rewritten)).rejects.toMatchObject({
    code: 'random-results',
    exitCode: 2,
    message: expect.stringContaining("since 'noise' draws them"),
  });
});

test('random numbers that do not reach them', async () => {
  const { original, rewritten } = noisy('0');
  expect(findingsOf(await verifyModels(original, rewritten, { lengths: [5] }))).toEqual([]);
});
