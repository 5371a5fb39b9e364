import { constantSource, constantTensor, Dim, projectionView, tensorShape } from '../src/analyse';
import type { Recogniser } from '../src/attention/recogniser';
import type { AttentionSite, OperatorCore, Side, SiteTraits } from '../src/attention/site';
import { siteTypes } from '../src/attention/types';
import type { Node, Value } from '../src/ir';
import type { Analysis } from '../src/match/context';
import { fail } from '../src/match/outcome';
import type { ProjectionBias } from '../src/match/projection';
import { traceSide } from '../src/match/side';
import { dataTypeName, isFloatType, type TensorProto } from '../src/onnx';

/**
 * The attention operators of ONNX Runtime (domain com.microsoft), as its ContribOperators.md documents them: queries,
 * keys and values as [B, S, heads * width], or one input that the operator projects.
 */

/** MultiHeadAttention: query, key, value, bias [q | k | v], key_padding_mask, attention_bias, past_key, past_value. */
export const multiHeadAttention: Recogniser = {
  name: 'multi-head-attention',
  accepts: ({ anchor }) => anchor.isFrom('com.microsoft', 'MultiHeadAttention'),
  recognise: ({ anchor }, analysis) => {
    const heads = anchor.int('num_heads') ?? 0;
    const bias = anchor.inputs[3] ? 3 : undefined;
    return separateInputs(anchor, analysis, {
      name: multiHeadAttention.name,
      heads,
      kvHeads: heads,
      biasIndex: bias,
      cache: { pastKey: 6, pastValue: 7, presentKey: 1 },
      mask: [
        anchor.inputs[4] && 'key padding',
        anchor.inputs[5] && 'additive',
        anchor.int('unidirectional') === 1 && 'causal',
      ],
    });
  },
};

/** GroupQueryAttention: query, key, value, past_key, past_value, seqlens_k, total_sequence_length, cos, sin. */
export const groupQueryAttention: Recogniser = {
  name: 'group-query-attention',
  accepts: ({ anchor }) => anchor.isFrom('com.microsoft', 'GroupQueryAttention'),
  recognise: ({ anchor }, analysis) =>
    separateInputs(anchor, analysis, {
      name: groupQueryAttention.name,
      heads: anchor.int('num_heads') ?? 0,
      kvHeads: anchor.int('kv_num_heads') ?? 0,
      biasIndex: undefined,
      cache: { pastKey: 3, pastValue: 4, presentKey: 1 },
      mask: ['causal', anchor.inputs[10] && 'additive'],
    }),
};

interface Form {
  readonly name: string;
  readonly heads: number;
  readonly kvHeads: number;
  readonly biasIndex: number | undefined;
  readonly cache: NonNullable<OperatorCore['cache']>;
  readonly mask: readonly (string | false | Value | undefined)[];
}

function separateInputs(node: Node, analysis: Analysis, form: Form): AttentionSite {
  const { shapes, dataflow } = analysis;
  const [query, key, values] = node.inputs;
  const output = node.outputs[0];
  const ranks = [query, key, values].map((value) => shapes.shape(value)?.length);
  if (!query || !key || !values || !output || ranks.some((rank) => rank !== 3)) {
    fail(
      'operator-form',
      node,
      'queries, keys and values of rank 3',
      ranks.map((rank) => rank ?? 'none').join(', '),
    );
  }
  if (node.outputs[3]) fail('operator-form', node, 'no output of scores', `'${node.outputs[3].name}'`);
  const q = traceSide(query, undefined, form.heads, node, dataflow, shapes);
  const k = traceSide(key, undefined, form.kvHeads, node, dataflow, shapes);
  const valueWidth = shapes.shape(values)?.[2]?.value;
  if (valueWidth === undefined)
    fail('heads-unknown', node, 'values of known width', 'a width that is no number');
  const biases =
    form.biasIndex === undefined
      ? undefined
      : biasInside(node, form.biasIndex, [q.columns.length, k.columns.length]);
  const cached = node.inputs[form.cache.pastKey] || node.outputs[form.cache.presentKey];
  return {
    anchor: node,
    recogniser: form.name,
    scope: node.graph,
    query: withBias(q, biases?.[0]),
    key: withBias(k, biases?.[1]),
    core: {
      kind: 'operator',
      node,
      queryIndex: 0,
      keyIndex: 1,
      valueIndex: 2,
      values,
      output,
      merged: true,
      biasIndex: form.biasIndex,
      weightIndex: undefined,
      cache: cached ? form.cache : undefined,
    },
    heads: q.heads,
    kvHeads: k.heads,
    headWidth: q.width,
    valueWidth: valueWidth / form.kvHeads,
    ...siteTypes(node, q, output),
    traits: operatorTraits(node, form.mask, cached ? 'inside the operator' : 'none'),
  };
}

function operatorTraits(node: Node, mask: Form['mask'], cache: string): SiteTraits {
  const named = mask.filter((each): each is string => typeof each === 'string');
  const scale = node.float('scale') ?? 0;
  return {
    scale: scale === 0 ? '1/sqrt(width)' : scale.toPrecision(6),
    mask: named.join(' + ') || 'none',
    positions: node.int('do_rotary') === 1 ? 'rotary, inside the operator' : 'none in scores',
    cache,
  };
}

/** The biases of queries and keys inside one tensor [q | k | v]. */
function biasInside(node: Node, index: number, widths: readonly number[]): ProjectionBias[] {
  const value = node.inputs[index];
  const tensor = value && constantTensor(value);
  if (!value || !tensor) fail('weight-not-constant', node, 'a constant bias', `'${value?.name ?? ''}'`);
  refuseUntrainable(node, tensor);
  const [length = 0, ...further] = tensorShape(tensor);
  if (further.length > 0 || length < widths.reduce((all, width) => all + width, 0))
    fail('projection-form', node, 'biases [q | k | v]', `[${tensorShape(tensor).join(', ')}]`);
  let offset = 0;
  return widths.map((width) => {
    const layout = { offset, columns: [{ size: width, stride: 1 }], row: [] };
    offset += width;
    return {
      node,
      value,
      holder: constantSource(value),
      tensor,
      layout,
      counts: 'places',
      castTo: undefined,
    };
  });
}

/** Weights and biases get a second one of their own type, with numbers that diffx draws. */
function refuseUntrainable(node: Node, { dataType }: TensorProto): void {
  if (isFloatType(dataType)) return;
  const found = `weights of type ${dataTypeName(dataType ?? 0)}`;
  fail('projection-form', node, 'weights of a type that can be trained', found);
}

/** A side whose bias the operator adds. A bias of the projection itself would be a second one. */
function withBias(side: Side, bias: ProjectionBias | undefined): Side {
  if (!bias) return side;
  if (side.projection.bias) {
    fail('operator-form', bias.node, 'a bias before the operator or inside it', 'both');
  }
  return { ...side, projection: { ...side.projection, bias } };
}

/** Attention: input, weights [in, q | k | v], bias [q | k | v], mask_index, past, attention_bias. */
export const packedAttention: Recogniser = {
  name: 'packed-attention',
  accepts: ({ anchor }) => anchor.isFrom('com.microsoft', 'Attention'),
  recognise: ({ anchor }, analysis) => projectedInside(anchor, analysis),
};

function projectedInside(node: Node, { shapes }: Analysis): AttentionSite {
  const [input, weight] = node.inputs;
  const output = node.outputs[0];
  const tensor = weight && constantTensor(weight);
  const heads = node.int('num_heads') ?? 0;
  const [inFeatures, all, ...further] = tensor ? tensorShape(tensor) : [];
  if (!input || !weight || !output || !tensor || !inFeatures || !all || further.length > 0) {
    fail('weight-not-constant', node, 'constant weights [in, q | k | v]', `'${weight?.name ?? ''}'`);
  }
  refuseUntrainable(node, tensor);
  if (node.inputs[4] || node.outputs[1])
    fail('cache', node, 'no cache inside the operator', 'past or present');
  const given = node.attribute('qkv_hidden_sizes')
    ? (node.ints('qkv_hidden_sizes') ?? [])
    : [all / 3, all / 3, all / 3];
  const [q = 0, k = 0, v = 0] = given;
  if (q !== k || q % heads !== 0 || v % heads !== 0 || q + k + v !== all) {
    fail('heads-do-not-divide', node, `queries, keys and values of ${heads} heads`, given.join(', '));
  }
  const biases = node.inputs[2] ? biasInside(node, 2, [q, k]) : [];
  const rank = shapes.shape(input)?.length ?? 3;
  const side = (offset: number, bias: ProjectionBias | undefined): Side => ({
    projection: {
      node,
      input,
      weight,
      tensor,
      kind: 'linear',
      inputOrder: undefined,
      inputRank: rank,
      holder: constantSource(weight),
      layout: {
        offset: 0,
        columns: [{ size: all, stride: 1 }],
        row: [{ size: inFeatures, stride: all }],
      },
      castTo: undefined,
      rowShape: [inFeatures],
      inFeatures,
      outFeatures: all,
      quantized: undefined,
      bias,
      output,
      view: { axes: [], offset: 0 },
    },
    further: [],
    separated: input,
    view: { axes: [], offset: 0 },
    between: [],
    heads,
    width: q / heads,
    columns: Int32Array.from({ length: q }, (_, index) => offset + index),
    units: [
      { size: heads, stride: q / heads },
      { size: q / heads, stride: 1 },
    ],
    headUnits: 1,
    operand: input,
    operandView: projectionView(shapes.shape(input)?.slice(0, -1) ?? [Dim.unknown(), Dim.unknown()], q),
  });
  const query = side(0, biases[0]);
  return {
    anchor: node,
    recogniser: packedAttention.name,
    scope: node.graph,
    query,
    key: side(q, biases[1]),
    core: {
      kind: 'operator',
      node,
      queryIndex: 0,
      keyIndex: 0,
      valueIndex: 0,
      values: input,
      output,
      merged: true,
      biasIndex: node.inputs[2] ? 2 : undefined,
      weightIndex: 1,
      cache: undefined,
    },
    heads,
    kvHeads: heads,
    headWidth: q / heads,
    valueWidth: v / heads,
    ...siteTypes(node, query, output),
    traits: operatorTraits(
      node,
      [
        node.inputs[3] && 'mask_index',
        node.inputs[5] && 'additive',
        node.int('unidirectional') === 1 && 'causal',
      ].map((each) => (typeof each === 'string' ? each : false)),
      'none',
    ),
  };
}
