import { type Atom, columnAtoms, Dim, type LeadAtom, type View } from '../analyse';
import type { LocatedSite } from '../attention/find';
import type { FunctionForm } from '../attention/record';
import type { ColumnUnit, Side } from '../attention/site';
import type { Value } from '../ir';
import { fail } from '../match/outcome';
import { featuresLast } from '../match/projection';
import { knownView } from '../match/side';
import type { Builder } from './builder';
import { joinShape, secondProjection } from './second-projection';

/**
 * lambda as a projection of the layer's input, one number for each token and head: one more projection of what the
 * queries are projected from, whose columns are the heads. Its tokens and heads go where those of the queries go.
 */

/**
 * Adds the projection to lambda of a site.
 * @param start what the differential attention of the form begins with
 * @returns the logits of lambda, which broadcast against what the form weighs: [.., H, S, 1], or [B, S, H, 1] behind
 *   operators that merge heads
 */
export function lambdaLogits(
  builder: Builder,
  site: LocatedSite,
  form: FunctionForm,
  start: Readonly<Record<string, Value>>,
  parameters: ReadonlyMap<string, Value>,
): Value {
  const { query } = site;
  const inputOrder = featuresLast(query.projection);
  if (!inputOrder) {
    const found = 'a convolution over several positions, or in groups';
    fail('projection-form', query.projection.node, 'queries of one position each, for lambda as well', found);
  }
  const { axes, like } = layoutOf(site, form, start);
  if (axes.flat().some((atom) => atom.kind === 'lead' && atom.order === undefined)) {
    const wanted = 'tokens that are those of one input, for lambda to be projected from it';
    fail('layout-lost', query.projection.node, wanted, 'tokens of several inputs, or other than projected');
  }
  const lost = projectedTokens(query).find((token) => !isWhole(token, axes.flat()));
  if (lost) {
    const wanted = 'queries of as many tokens as are projected, a lambda for each of them';
    fail('layout-lost', query.projection.node, wanted, 'tokens that are put together, or left out');
  }
  const heads = headAxes(axes, site);
  const columns = Int32Array.from({ length: site.heads }, (_, head) => head);
  const side: Side = {
    ...query,
    projection: {
      ...query.projection,
      kind: 'linear',
      inputOrder: inputOrder.some((from, axis) => from !== axis) ? inputOrder : undefined,
      quantized: undefined,
      bias: undefined,
      castTo: undefined,
      outFeatures: site.heads,
    },
    between: [],
    further: [],
    width: 1,
    columns,
    units: query.units.slice(0, query.headUnits),
    separated: like,
    view: { axes: heads, offset: 0 },
  };
  const shape = () =>
    joinShape(
      builder,
      heads.map((atoms, axis) => (atoms.length === 0 ? 1 : sizeOf(atoms, builder, like, axis))),
    );
  return secondProjection(builder, site, side, 'lambda_proj', parameters, shape);
}

/** The axes of tokens that are projected. */
function projectedTokens({ projection }: Side): LeadAtom[] {
  return knownView(projection.view)
    .axes.flat()
    .filter((atom): atom is LeadAtom => atom.kind === 'lead');
}

/** Whether all of an axis is there: its parts are as long as it, or each half that it was divided into is, and so on. */
function isWhole({ size, order = [] }: LeadAtom, atoms: readonly Atom[]): boolean {
  const parts = atoms.filter(
    (atom): atom is LeadAtom =>
      atom.kind === 'lead' && order.every((at, index) => atom.order?.[index] === at),
  );
  if (Dim.product(parts.map((part) => part.size)).equals(size)) return true;
  const share = parts.reduce((sum, part) => sum + 2 ** (order.length - (part.order?.length ?? 0)), 0);
  return share === 1;
}

function sizeOf(atoms: readonly Atom[], builder: Builder, like: Value, axis: number): number | Value {
  const known = atoms.reduce((all, { size }) => all * (size.value ?? Number.NaN), 1);
  return Number.isNaN(known) ? builder.shapePart(like, axis, axis + 1) : known;
}

interface Layout {
  /** Axes over the columns of the query projection; nothing where lambda has one element. */
  readonly axes: View['axes'];
  /** A value whose axes are as long. */
  readonly like: Value;
}

/** How what a form weighs is laid out. */
function layoutOf(site: LocatedSite, form: FunctionForm, start: Readonly<Record<string, Value>>): Layout {
  const { core, query } = site;
  if (core.kind === 'written-out') {
    if (core.joined && !core.joined.aligned) {
      const found = `'${core.output.name}', whose axes are others`;
      fail('layout-lost', core.product, 'what the map weighs to be laid out as the map, for lambda', found);
    }
    const [like, view] =
      form === 'scores' ? [start['Q1'], query.operandView] : [start['A1'], core.probabilitiesView];
    return { axes: [...knownView(view).axes.slice(0, -1), []], like: like ?? core.probabilities };
  }
  const { axes } = knownView(query.operandView);
  return { axes: core.merged ? [...axes, []] : axes, like: query.operand };
}

/**
 * The axes with only those columns that number heads. Where a linear layer has combined heads (talking heads), what it makes
 * of them are the heads that are weighed: each of them gets a lambda, if they are as many.
 */
function headAxes(axes: View['axes'], { query, heads, anchor }: LocatedSite): View['axes'] {
  const known = axes.map((axis) => axis.flatMap((atom) => headAtoms(atom, query)));
  const count = columnAtoms(known.flat()).reduce((all, { size }) => all * (size.value ?? 0), 1);
  if (count === heads) return known;
  const mixed = columnAtoms(axes.flat()).filter(({ stride }) => stride === undefined);
  const [only] = mixed;
  if (!only || mixed.length > 1 || count !== 1 || only.size.value !== heads) {
    const made = mixed.map(({ size }) => size.toString()).join(' and ') || 'an unknown number of';
    fail(
      'columns-mixed',
      anchor,
      `${heads} maps, a lambda for each of them`,
      `${made} that heads are combined to`,
    );
  }
  return axes.map((axis) =>
    axis.flatMap((atom) => (atom === only ? headUnitsOf(query).map(headAtom) : headAtoms(atom, query))),
  );
}

/** What of an atom numbers heads; all of it where it is no column. */
function headAtoms(atom: Atom, query: Side): Atom[] {
  if (atom.kind !== 'column') return [atom];
  const { stride, size } = atom;
  if (stride === undefined) return [];
  const end = stride * (size.value ?? 0);
  return headUnitsOf(query)
    .filter((unit) => unit.stride >= stride && unit.stride < end)
    .map(headAtom);
}

function headUnitsOf({ units, headUnits }: Side): ColumnUnit[] {
  return units.slice(0, headUnits).filter(({ size }) => size > 1);
}

function headAtom({ size, stride }: ColumnUnit): Atom {
  return { kind: 'column', size: Dim.of(size), stride };
}
