import type { Recogniser } from '../src/attention/recogniser';
import { attentionOperator } from './recognise-attention-operator';
import { softmaxAttention } from './recognise-softmax-attention';

/** Everything the compiler knows about how attention is exported. The first recogniser that accepts a candidate decides. */
export const recognisers: readonly Recogniser[] = [softmaxAttention, attentionOperator];
