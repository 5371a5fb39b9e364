import {
  ancestors,
  axisSize,
  dataInputs,
  descendants,
  followViews,
  frontAxis,
  isDequantize,
  isLayout,
  isQuantize,
  type Shapes,
  type View,
} from '../analyse';
import type { LocatedSite } from '../attention/find';
import type { CachedKeys } from '../attention/record';
import { type Branch, branchesOf, isProjected, type OperatorCache } from '../attention/site';
import type { Node, Value } from '../ir';
import { fail } from '../match/outcome';
import { attribute } from './attributes';
import { followOut, refuseOuterPresent } from './branch-caches';
import { Builder, takeOver } from './builder';
import { declareLonger, doubledType } from './cache-types';
import { cloneSlice, type Substitution } from './clone';
import type { RewriteSession } from './session';

/**
 * The key cache with duplicate heads, SPEC section 5: it holds 2g heads, the positive ones first, on the axis that held
 * g. Past and present are recognised by data flow: an input that is joined with the keys, an output that the keys
 * reach through layout, casts and quantization alone.
 */

const JOINS = ['Concat', 'ScatterElements', 'ScatterND', 'TensorScatter'];
const THROUGH = ['Cast', 'Identity', 'Reshape', 'Slice', 'Squeeze', 'Transpose', 'Unsqueeze'];

/** Casts, and rounding of each element on its own: the keys stay what they are. */
function convertsElements(node: Node): boolean {
  return node.is('Cast') || isQuantize(node) || isDequantize(node);
}

/** Where keys begin, and how they are laid out there. */
interface Start extends Pick<Branch, 'view' | 'units' | 'headUnits' | 'heads'> {
  readonly value: Value;
}

/** Behind their projections, or as the positive half of those that are fed. */
function keyStarts({ key }: LocatedSite, session: RewriteSession): Start[] {
  if (isProjected(key)) return branchesOf(key).map((branch) => ({ ...branch, value: branch.separated }));
  return [{ ...key, value: session.splitInput(key.separated, key.fedAxis, key.heads).positive }];
}

/** Nodes on the way from there to the scores. */
function keyPath(site: LocatedSite, session: RewriteSession): Node[] {
  const starts = keyStarts(site, session).map(({ value }) => value);
  return descendants(starts, ancestors(site.key.operand, new Set(starts)));
}

/** All values on the way. */
function keyValues(site: LocatedSite, session: RewriteSession): Value[] {
  const made = keyPath(site, session).flatMap((node) => node.outputs.flatMap((value) => value ?? []));
  return [...keyStarts(site, session).map(({ value }) => value), ...made];
}

/** Splits each past of the keys into its halves and says what stands in for the positive one in the negative slice. */
export function splitPasts(
  site: LocatedSite,
  session: RewriteSession,
  substitution: Substitution,
): CachedKeys[] {
  const cached = splitFed(site, session, substitution);
  const path = new Set(keyPath(site, session));
  const computed = new Set(keyValues(site, session));
  for (const node of path) {
    if (!node.is(...JOINS)) continue;
    for (const input of dataInputs(node)) {
      if (computed.has(input) || !joinsKeys(node, input, session)) continue;
      const fed = fedThrough(input, site, session);
      if (!fed) fail('cache', node, 'past keys that are an input of the model', `'${input.name}'`);
      const { axis, heads } = pastAxis(site, session, fed, input, node);
      const halves = session.splitInput(fed.source, axis, heads);
      substitution.set(halves.positive, halves.negative);
      cached.push({
        name: session.originalInput(halves.positive).name,
        kind: 'past',
        axis,
        heads,
      });
    }
  }
  return cached;
}

/** Keys that are an input themselves. */
function splitFed({ key }: LocatedSite, session: RewriteSession, substitution: Substitution): CachedKeys[] {
  if (isProjected(key)) return [];
  const halves = session.splitInput(key.separated, key.fedAxis, key.heads);
  substitution.set(halves.positive, halves.negative);
  const { name } = session.originalInput(halves.positive);
  return [{ name, kind: 'past', axis: key.fedAxis, heads: key.heads }];
}

/** True for an input of a join that holds elements of the result and depends on what is fed; not for indices. */
function joinsKeys(node: Node, input: Value, session: RewriteSession): boolean {
  const holdsElements = node.is('Concat') || node.inputs[0] === input;
  const isHalf = session.originalInput(input) !== input;
  return holdsElements && (isHalf || session.found.analysis.dataflow.dependsOnData(input));
}

interface Fed {
  /** An input of the main graph, or the positive half of one that was split before. */
  readonly source: Value;
  /** Nodes between it and the join, in order. */
  readonly nodes: readonly Node[];
}

function fedThrough(value: Value, site: LocatedSite, session: RewriteSession): Fed | undefined {
  const nodes: Node[] = [];
  for (let at: Value | undefined = value; at; ) {
    const input = session.originalInput(at);
    if (input.isInput && !input.scope.parent) return { source: at, nodes: nodes.reverse() };
    const node: Node | undefined = at.producer;
    const single = node?.is('Concat') && node.inputs.length === 1;
    if (!node || node.graph !== site.scope || (!node.is(...THROUGH) && !convertsElements(node) && !single))
      return undefined;
    nodes.push(node);
    at = node.inputs[0];
  }
  return undefined;
}

/** Where heads stand, and how many there are: fewer or more than the attention has, where heads share what is cached, or it is
 * cached once for each query head that reads it. */
interface HeadPlace {
  readonly axis: number;
  readonly heads: number;
}

/** The axis of a past on which its heads stand: the one that arrives at the head axis of the join. */
function pastAxis(
  site: LocatedSite,
  session: RewriteSession,
  fed: Fed,
  joined: Value,
  join: Node,
): HeadPlace {
  const { shapes } = session.found.analysis;
  const wanted = join.inputs.flatMap((input) =>
    input && input !== joined ? (headPlace(site, session, input, [], joinAxis(join, shapes)) ?? []) : [],
  )[0];
  const shape = shapes.shape(session.originalInput(fed.source));
  if (!wanted || !shape)
    fail('cache', join, 'a past with heads on an axis of its own', 'a layout that is not understood');
  const { heads } = wanted;
  for (let axis = 0; axis < shape.length; axis++) {
    const marked: View = {
      offset: 0,
      axes: shape.map((size, index) => [
        index === axis
          ? { kind: 'column' as const, size, stride: 1 }
          : { kind: 'lead' as const, size, order: undefined },
      ]),
    };
    if (shape[axis]?.value !== heads) continue;
    const arrived = followViews(shapes, new Map([[fed.source, marked]]), fed.nodes).get(joined);
    const at =
      arrived && 'axes' in arrived
        ? arrived.axes.findIndex((atoms) => atoms.some(({ kind }) => kind === 'column'))
        : -1;
    if (at === wanted.axis) return { axis, heads };
  }
  return fail('cache', join, `a past with ${heads} heads on an axis of its own`, `[${shape.join(', ')}]`);
}

/** The axis on which a join puts keys behind one another. */
function joinAxis(join: Node, shapes: Shapes): number | undefined {
  const rank = shapes.shape(join.outputs[0])?.length;
  const axis = join.is('Concat') ? join.int('axis') : undefined;
  return rank === undefined || axis === undefined ? undefined : frontAxis(axis, rank);
}

/** Where the heads of the keys stand in a value on the way, or behind it. `rows`: an axis that is known to be another. */
function headPlace(
  site: LocatedSite,
  session: RewriteSession,
  value: Value,
  more: readonly Node[] = [],
  rows?: number,
): HeadPlace | undefined {
  const nodes = [...keyPath(site, session), ...more];
  for (const start of keyStarts(site, session)) {
    const from = new Map([[start.value, start.view]]);
    const view = followViews(session.found.analysis.shapes, from, nodes).get(value);
    const place = view && 'axes' in view ? headsIn(view, start, rows) : undefined;
    if (place) return place;
  }
  return undefined;
}

/**
 * The axis on which key heads stand, alone or repeated for the query heads that share them. A single head that is not
 * repeated has an axis of size 1, which other axes may have as well: that of the rows, where it is known, and a batch in
 * front are ruled out, and where several are left it cannot be told.
 */
function headsIn(
  view: View,
  { units, headUnits, heads }: Start,
  rows: number | undefined,
): HeadPlace | undefined {
  const strides = units.slice(0, headUnits).map(({ stride }) => stride);
  const isHead = (axis: View['axes'][number]) =>
    axis.some((atom) => atom.kind === 'column' && atom.stride !== undefined && strides.includes(atom.stride));
  const isRepeated = (axis: View['axes'][number]) =>
    axis.length > 0 && axis.every(({ kind }) => kind === 'repeat');
  const axis = view.axes.findIndex(heads > 1 ? isHead : isRepeated);
  const atoms = view.axes[axis];
  if (atoms) {
    const size = axisSize(atoms).value;
    const alone = atoms.every(({ kind }) => kind !== 'lead');
    return alone && size !== undefined ? { axis, heads: size } : undefined;
  }
  if (heads > 1) return undefined;
  const single = view.axes.flatMap((each, index) => (each.length === 0 && index !== rows ? [index] : []));
  const behind = single.length > 1 ? single.filter((index) => index > 0) : single;
  const [only, other] = behind;
  return only === undefined || other !== undefined ? undefined : { axis: only, heads: 1 };
}

/** Replaces each output that shows the keys by positive and negative keys, one behind the other on the head axis. */
export function doublePresents(
  site: LocatedSite,
  session: RewriteSession,
  substitution: Substitution,
  builder: Builder,
): CachedKeys[] {
  return shownKeys(site, keyValues(site, session)).map(({ value, nodes }) => {
    refuseOuterPresent(site, value);
    const place = headPlace(site, session, value, nodes);
    const at = value.producer ?? site.anchor;
    if (!place) fail('cache', at, 'a present with heads on an axis of its own', `'${value.name}'`);
    return doubleOutput(site, session, value, cloneSlice(value, substitution, builder), place);
  });
}

function doubleOutput(
  site: LocatedSite,
  session: RewriteSession,
  value: Value,
  negative: Value,
  { axis, heads }: HeadPlace,
): CachedKeys {
  const { name } = value;
  const end = new Builder(site.scope, undefined, site.path);
  const both = end.op('Concat', [value, negative], {
    attributes: [attribute.int('axis', axis)],
    name: 'present_keys',
  });
  takeOver(value, both, []);
  site.scope.setType(both, doubledType(both.type, axis));
  followOut(site, both, axis, session);
  return { name, kind: 'present', axis, heads };
}

/** Axis of the heads in the caches of operators: [B, G, T, width]. */
const OPERATOR_HEADS = 1;

/** Gives the negative call of an operator the negative half of its past keys. */
export function splitOperatorPast(
  site: LocatedSite,
  cache: OperatorCache,
  session: RewriteSession,
  inputs: (Value | undefined)[],
): CachedKeys[] {
  const past = inputs[cache.pastKey];
  if (!past) return [];
  const fed = fedThrough(past, site, session);
  if (!fed || fed.nodes.length > 0) {
    fail('cache', site.anchor, 'past keys that are an input of the model', `'${past.name}'`);
  }
  const halves = session.splitInput(fed.source, OPERATOR_HEADS, site.kvHeads);
  const { core, path } = site;
  if (core.kind === 'operator') declareLonger(core.node.outputs[cache.presentKey], past, path);
  inputs[cache.pastKey] = halves.negative;
  return [
    {
      name: session.originalInput(halves.positive).name,
      kind: 'past',
      axis: OPERATOR_HEADS,
      heads: site.kvHeads,
    },
  ];
}

/** Replaces the present keys of an operator by those of both calls. */
export function doubleOperatorPresent(
  site: LocatedSite,
  cache: OperatorCache,
  session: RewriteSession,
  negative: readonly (Value | undefined)[],
  builder: Builder,
): CachedKeys[] {
  const { node } = site.core.kind === 'operator' ? site.core : { node: site.anchor };
  const present = node.outputs[cache.presentKey];
  const second = negative[cache.presentKey];
  if (!present || !second) return [];
  const { type } = present;
  const substitution: Substitution = new Map([[present, second]]);
  const doubled = shownKeys(site, [present]).map(({ value, nodes }) => {
    if (nodes.some((each) => !each.is('Cast', 'Identity'))) {
      fail('cache', node, 'present keys that are an output of the model', `'${value.name}'`);
    }
    const late = new Builder(site.scope, undefined, builder.prefix);
    const place = { axis: OPERATOR_HEADS, heads: site.kvHeads };
    return doubleOutput(site, session, value, cloneSlice(value, substitution, late), place);
  });
  // See `callAgain`.
  site.scope.setType(present, type);
  return doubled;
}

interface ShownKeys {
  readonly value: Value;
  readonly nodes: readonly Node[];
}

/** Outputs of the scope that keys reach through layout, casts and quantization. */
function shownKeys(site: LocatedSite, starts: readonly Value[]): ShownKeys[] {
  const found: ShownKeys[] = [];
  const seen = new Set<Value>();
  const open: ShownKeys[] = starts.map((value) => ({ value, nodes: [] }));
  for (let at = open.pop(); at; at = open.pop()) {
    const { value, nodes } = at;
    if (seen.has(value)) continue;
    seen.add(value);
    if (value.isOutput) found.push(at);
    for (const reader of value.readers) {
      if (
        reader.graph !== site.scope ||
        !(isLayout(reader) || convertsElements(reader)) ||
        reader.inputs[0] !== value
      )
        continue;
      open.push(
        ...reader.outputs.flatMap((output) => (output ? [{ value: output, nodes: [...nodes, reader] }] : [])),
      );
    }
  }
  return found;
}
