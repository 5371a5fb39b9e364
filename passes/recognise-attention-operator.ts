import { frontAxis } from '../src/analyse';
import type { Recogniser } from '../src/attention/recogniser';
import type { AttentionSite } from '../src/attention/site';
import { siteTypes } from '../src/attention/types';
import type { Node } from '../src/ir';
import type { Analysis } from '../src/match/context';
import { traceKeys } from '../src/match/fed-keys';
import { fail } from '../src/match/outcome';
import { traceSide } from '../src/match/side';

/** The standard operator `Attention` (opset 23 and newer): inputs Q, K, V, attn_mask, past_key, past_value. */
export const attentionOperator: Recogniser = {
  name: 'attention-operator',
  accepts: ({ anchor }) => anchor.is('Attention'),
  recognise: ({ anchor }, analysis) => recognise(anchor, analysis),
};

function recognise(node: Node, { shapes, dataflow }: Analysis): AttentionSite {
  const [query, key, values] = node.inputs;
  const output = node.outputs[0];
  const rank = shapes.shape(query)?.length;
  if (!query || !key || !values || !output || (rank !== 3 && rank !== 4)) {
    fail(
      'operator-form',
      node,
      'queries of rank 3 or 4',
      rank === undefined ? 'an unknown rank' : `rank ${rank}`,
    );
  }
  if (node.outputs[3]) fail('operator-form', node, 'no output of scores', `'${node.outputs[3].name}'`);
  const merged = rank === 3;
  const heads = (attribute: string) => (merged ? (node.int(attribute) ?? 0) : undefined);
  const widthAxis = merged ? undefined : frontAxis(-1, rank);
  const q = traceSide(query, widthAxis, heads('q_num_heads'), node, dataflow, shapes);
  const k = traceKeys(key, widthAxis, heads('kv_num_heads'), q, node, dataflow, shapes);
  const width = shapes.shape(values)?.at(-1)?.value;
  if (width === undefined) fail('heads-unknown', node, 'values of known width', 'a width that is no number');
  const mask = [node.inputs[3] ? 'attn_mask' : '', node.int('is_causal') === 1 ? 'causal' : ''].filter(
    Boolean,
  );
  const cached = node.inputs[4] !== undefined || node.outputs[1] !== undefined;
  return {
    anchor: node,
    recogniser: attentionOperator.name,
    scope: node.graph,
    query: q,
    key: k,
    core: {
      kind: 'operator',
      node,
      queryIndex: 0,
      keyIndex: 1,
      valueIndex: 2,
      values,
      output,
      merged,
      biasIndex: undefined,
      weightIndex: undefined,
      cache: cached ? { pastKey: 4, pastValue: 5, presentKey: 1 } : undefined,
    },
    heads: q.heads,
    kvHeads: k.heads,
    headWidth: q.width,
    valueWidth: merged ? width / k.heads : width,
    ...siteTypes(node, q, output),
    traits: {
      scale: node.float('scale')?.toPrecision(6) ?? '1/sqrt(width)',
      mask: mask.join(' + ') || 'none',
      positions: 'none in scores',
      cache: cached ? 'inside the operator' : 'none',
    },
  };
}
