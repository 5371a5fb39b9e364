import type { Atom, LeadAtom } from '../analyse';
import { columnAtoms } from '../analyse';
import { featuresLast } from '../match/projection';
import type { LayerUnderTest } from './layer-reference';
import { type Array64, permute, sigmoidOf } from './reference';

/**
 * lambda as a projection of the layer's input, in float64: sigmoid(x W), one for each token and head, laid out as the
 * original lays out its probabilities (or what its fused operator gives).
 */

/** Name of what lambda is projected from: what the queries are projected from. */
export function lambdaInput({ site }: Pick<LayerUnderTest, 'site'>): string {
  return site.query.projection.input.name;
}

/** Name of the weight that lambda is projected with. */
export function lambdaWeight({ layer }: Pick<LayerUnderTest, 'layer'>): string {
  return `${layer.path}.lambda_proj.weight`;
}

/**
 * @param weighed what lambda is multiplied with, for its sizes: maps, or values behind a fused operator
 * @returns the axes of `weighed`, with one number on the last
 * @throws Error where tokens and heads cannot be told apart
 */
export function projectedLambda(
  { site }: Pick<LayerUnderTest, 'site'>,
  x: Array64,
  weight: Array64,
  weighed: Array64,
): Array64 {
  const { core, query } = site;
  const order = featuresLast(query.projection);
  if (!order) throw new Error('its queries come from several positions each');
  const lambda = sigmoidOf(permute(x, order), weight);
  const view = core.kind === 'written-out' ? core.probabilitiesView : query.operandView;
  if (!('axes' in view)) throw new Error(`nobody knows where its heads are: ${view.found}`);
  const merged = core.kind === 'operator' && core.merged;
  const axes = view.axes.slice(0, merged ? undefined : -1);
  const leads = axes.flat().filter((atom): atom is LeadAtom => atom.kind === 'lead');
  const heads = query.units.slice(0, query.headUnits).filter(({ size }) => size > 1);
  const sizes = leadSizes(axes, leads, lambda.shape.slice(0, -1), weighed.shape);
  const ordered = [...leads].sort((a, b) => compareOrders(a, b));
  const source = [...ordered.map((lead) => sizes.get(lead) ?? 1), ...heads.map(({ size }) => size)];
  const combined = combinedHeads(axes, site.heads);
  const places = axes.map((axis) =>
    axis.flatMap((atom) => {
      if (atom.kind === 'lead') return [ordered.indexOf(atom)];
      if (atom === combined) return heads.map((_, index) => ordered.length + index);
      const [column] = columnAtoms([atom]);
      if (!column) throw new Error('heads that are repeated');
      const { stride = Number.NaN, size } = column;
      return heads.flatMap((unit, index) =>
        unit.stride >= stride && unit.stride < stride * (size.value ?? 0) ? [ordered.length + index] : [],
      );
    }),
  );
  const moved = permute({ shape: source, data: lambda.data }, places.flat());
  const shape = places.map((axis) => axis.reduce((all, place) => all * (source[place] ?? 1), 1));
  return { shape: [...shape, 1], data: moved.data };
}

/** Maps that a linear layer over the heads gives, where they stand in the place of the heads: one of them for each. */
function combinedHeads(axes: readonly (readonly Atom[])[], heads: number): Atom | undefined {
  const columns = columnAtoms(axes.flat());
  const [only] = columns;
  return columns.length === 1 && only?.stride === undefined && only?.size.value === heads ? only : undefined;
}

/** How long the parts are into which the leading axes of the projection were divided. */
function leadSizes(
  axes: readonly (readonly Atom[])[],
  leads: readonly LeadAtom[],
  leading: readonly number[],
  weighed: readonly number[],
): Map<LeadAtom, number> {
  const sizes = new Map<LeadAtom, number>();
  for (const lead of leads) {
    const alone = axes.findIndex((axis) => axis.length === 1 && axis[0] === lead);
    const size = lead.size.value ?? weighed[alone];
    if (size !== undefined) sizes.set(lead, size);
  }
  leading.forEach((size, axis) => {
    const parts = leads.filter(({ order }) => order?.[0] === axis);
    const open = parts.filter((part) => !sizes.has(part));
    const known = parts.reduce((all, part) => all * (sizes.get(part) ?? 1), 1);
    const [only] = open;
    if (open.length > 1) throw new Error(`axis ${axis} of the input is divided into unknown parts`);
    if (only) sizes.set(only, size / known);
    else if (known !== size) throw new Error(`axis ${axis} of the input is ${size} long, not ${known}`);
  });
  return sizes;
}

function compareOrders({ order: a = [] }: LeadAtom, { order: b = [] }: LeadAtom): number {
  const at = a.findIndex((each, index) => each !== b[index]);
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}
