/** Golden conversions as settings of a rewrite. */
import type { RewriteFileSettings } from '../../src/api/rewrite';
import type { GoldenSettings } from './fixtures';

/** Without `normEps`: the epsilon is to be found in the model. */
export function goldenSettings(settings: GoldenSettings): RewriteFileSettings {
  const { heads, sublayerNorm, zeroInit, mirrorWeights, diffAttnMix } = settings;
  return {
    splitHeads: heads === 'split',
    sublayerNorm,
    init: zeroInit ? 'zero' : mirrorWeights ? 'mirror' : 'random',
    mixInput: diffAttnMix !== undefined,
  };
}
