import type { Passes } from '../src/rewrite/run';
import { lowerDuplicateOperator, lowerDuplicateWrittenOut } from './lower-duplicate-heads';
import { lowerSplitOperator, lowerSplitWrittenOut } from './lower-split-heads';
import { attentionOperator } from './recognise-attention-operator';
import { groupQueryAttention, multiHeadAttention, packedAttention } from './recognise-contrib-attention';
import { softmaxAttention } from './recognise-softmax-attention';
import { removeDeadNodes } from './remove-dead-nodes';
import { unpackOperatorInputs } from './unpack-operator-inputs';

/**
 * Everything the compiler knows about the world, in the order in which it is tried: every peel runs, the first recogniser that accepts
 * a candidate describes it, the first lowering that accepts a site writes it, and every clean-up runs.
 */
export const passes: Passes = {
  peels: [unpackOperatorInputs],
  recognisers: [
    softmaxAttention,
    attentionOperator,
    multiHeadAttention,
    groupQueryAttention,
    packedAttention,
  ],
  lowerings: [lowerDuplicateWrittenOut, lowerDuplicateOperator, lowerSplitWrittenOut, lowerSplitOperator],
  cleanups: [removeDeadNodes],
};
