import type { Atom, LostView, View } from '../analyse';
import { axisSize } from '../analyse';
import { type AttentionSite, isProjected } from '../attention/site';
import type { Projection } from '../match/projection';
import type { Binding, BoundSide } from './inspection';

/** How the parts of an attention were bound, in names of the user's model. */
export function describeBinding({ query, key, core }: AttentionSite): Binding {
  const sides = { query: describeSide(query), key: describeSide(key) };
  const ends = { values: core.values.name, output: core.output.name };
  if (core.kind === 'operator') {
    return {
      ...sides,
      scores: null,
      plainScores: false,
      softmax: null,
      product: core.node.label,
      ...ends,
      probabilitiesLayout: null,
    };
  }
  return {
    ...sides,
    scores: core.scores.label,
    plainScores: core.plain !== undefined,
    softmax: core.softmax.label,
    product: core.product.label,
    ...ends,
    probabilitiesLayout: describeView(core.probabilitiesView),
  };
}

function describeSide(side: AttentionSite['key']): BoundSide {
  const projection = isProjected(side) ? side.projection : undefined;
  return {
    projection: projection?.node.label ?? null,
    operator: projection?.node.operator ?? null,
    input: projection?.input.name ?? side.separated.name,
    weight: projection?.weight.name ?? null,
    bias: projection ? biasName(projection) : null,
    inFeatures: projection?.inFeatures ?? null,
    outFeatures: projection?.outFeatures ?? null,
    beside: isProjected(side)
      ? side.further.map(({ projection: { node, input, weight } }) => ({
          projection: node.label,
          operator: node.operator,
          input: input.name,
          weight: weight.name,
        }))
      : [],
    separated: side.separated.name,
    heads: side.heads,
    width: side.width,
    operand: side.operand.name,
    layout: describeView(side.operandView),
  };
}

/** The bias as the product reads it: of its own, or added behind it. */
function biasName({ bias, quantized }: Projection): string | null {
  const part = quantized?.parts.find(({ role }) => role === 'bias');
  return part?.value.name ?? bias?.value.name ?? null;
}

/** A view as `[batch, 4:8, sequence, 8:1]`: leading axes by their size, columns as size:stride. */
export function describeView(view: View | LostView): string {
  if ('node' in view) return `lost at '${view.node.label}': ${view.found}`;
  const { axes, offset } = view;
  const text = axes.map((axis) => axis.map(describeAtom).join(' ') || axisSize(axis).toString()).join(', ');
  return offset === 0 ? `[${text}]` : `[${text}] from column ${offset}`;
}

function describeAtom(atom: Atom): string {
  switch (atom.kind) {
    case 'column':
      return `${atom.size}:${atom.stride ?? '?'}`;
    case 'lead':
      return atom.size.toString();
    case 'repeat':
      return `x${atom.size}`;
  }
}
