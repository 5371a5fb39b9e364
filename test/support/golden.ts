/** Golden conversions as settings of a rewrite. */
import type { RewriteFileSettings } from '../../src/api/rewrite';
import type { GoldenSettings } from './fixtures';

/** Without `normEps`: the epsilon is to be found in the model. */
export function goldenSettings(settings: GoldenSettings): RewriteFileSettings {
  const { preset, heads, sublayerNorm, zeroInit, mirrorWeights, diffAttnMix } = settings;
  // Of a reference implementation that has one way to do it, the preset alone says which.
  const free = preset === 'axolotl' ? { splitHeads: heads === 'split', sublayerNorm } : {};
  return {
    preset,
    ...free,
    init: zeroInit ? 'zero' : mirrorWeights ? 'mirror' : 'random',
    mixInput: diffAttnMix !== undefined,
  };
}
