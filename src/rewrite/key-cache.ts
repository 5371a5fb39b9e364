import { ancestors, dataInputs, descendants, followViews, isLayout, type View } from '../analyse';
import type { LocatedSite } from '../attention/find';
import type { CachedKeys } from '../attention/record';
import { isProjected, type OperatorCache } from '../attention/site';
import type { Node, Value } from '../ir';
import { fail } from '../match/outcome';
import { attribute } from './attributes';
import { followOut } from './branch-caches';
import { Builder, takeOver } from './builder';
import { doubledType } from './cache-types';
import { cloneSlice, type Substitution } from './clone';
import type { RewriteSession } from './session';

/**
 * The key cache with duplicate heads, SPEC section 5: it holds 2g heads, the positive ones first, on the axis that held
 * g. Past and present are recognised by data flow: an input that is joined with the keys, an output that the keys
 * reach through layout and casts alone.
 */

const JOINS = ['Concat', 'ScatterElements', 'ScatterND', 'TensorScatter'];
const THROUGH = ['Cast', 'Identity', 'Reshape', 'Slice', 'Squeeze', 'Transpose', 'Unsqueeze'];

/** Where the keys begin: behind their projection, or as the positive half of those that are fed. */
function keyStart({ key }: LocatedSite, session: RewriteSession): Value {
  return isProjected(key)
    ? key.separated
    : session.splitInput(key.separated, key.fedAxis, key.heads).positive;
}

/** Nodes on the way from there to the scores. */
function keyPath(site: LocatedSite, session: RewriteSession): Node[] {
  const start = keyStart(site, session);
  return descendants([start], ancestors(site.key.operand, new Set([start])));
}

/** Splits each past of the keys into its halves and says what stands in for the positive one in the negative slice. */
export function splitPasts(
  site: LocatedSite,
  session: RewriteSession,
  substitution: Substitution,
): CachedKeys[] {
  const cached = splitFed(site, session, substitution);
  const path = new Set(keyPath(site, session));
  const computed = new Set<Value>([
    keyStart(site, session),
    ...[...path].flatMap((node) => node.outputs.flatMap((v) => v ?? [])),
  ]);
  for (const node of path) {
    if (!node.is(...JOINS)) continue;
    for (const input of dataInputs(node)) {
      if (computed.has(input) || !joinsKeys(node, input, session)) continue;
      const fed = fedThrough(input, site, session);
      if (!fed) fail('cache', node, 'past keys that are an input of the model', `'${input.name}'`);
      const axis = pastAxis(site, session, fed, input, node);
      const halves = session.splitInput(fed.source, axis, site.kvHeads);
      substitution.set(halves.positive, halves.negative);
      cached.push({
        name: session.originalInput(halves.positive).name,
        kind: 'past',
        axis,
        heads: site.kvHeads,
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
    if (!node || node.graph !== site.scope || (!node.is(...THROUGH) && !single)) return undefined;
    nodes.push(node);
    at = node.inputs[0];
  }
  return undefined;
}

/** The axis of a past on which its heads stand: the one that arrives at the head axis of the join. */
function pastAxis(site: LocatedSite, session: RewriteSession, fed: Fed, joined: Value, join: Node): number {
  const { shapes } = session.found.analysis;
  const other = join.inputs.find((input) => input && input !== joined && keyViews(site, session).has(input));
  const view = other && keyViews(site, session).get(other);
  const wanted = view && headAxis(view, site);
  const shape = shapes.shape(session.originalInput(fed.source));
  if (wanted === undefined || !shape)
    fail('cache', join, 'a past with heads on an axis of its own', 'a layout that is not understood');
  for (let axis = 0; axis < shape.length; axis++) {
    const marked: View = {
      offset: 0,
      axes: shape.map((size, index) => [
        index === axis
          ? { kind: 'column' as const, size, stride: 1 }
          : { kind: 'lead' as const, size, order: undefined },
      ]),
    };
    if (shape[axis]?.value !== site.kvHeads) continue;
    const arrived = followViews(shapes, new Map([[fed.source, marked]]), fed.nodes).get(joined);
    const at =
      arrived && 'axes' in arrived
        ? arrived.axes.findIndex((atoms) => atoms.some(({ kind }) => kind === 'column'))
        : -1;
    if (at === wanted) return axis;
  }
  return fail(
    'cache',
    join,
    `a past with ${site.kvHeads} heads on an axis of its own`,
    `[${shape.join(', ')}]`,
  );
}

/** Views of the columns of the key projection at every value on the way, and behind it up to outputs. */
function keyViews(site: LocatedSite, session: RewriteSession, more: readonly Node[] = []): Map<Value, View> {
  const start = keyStart(site, session);
  const views = followViews(session.found.analysis.shapes, new Map([[start, site.key.view]]), [
    ...keyPath(site, session),
    ...more,
  ]);
  return new Map([...views].flatMap(([value, each]) => ('axes' in each ? [[value, each] as const] : [])));
}

/** The axis on which the key heads stand. A single head has an axis of size 1 between the others. */
function headAxis(view: View, site: LocatedSite): number | undefined {
  const strides = site.key.units.slice(0, site.key.headUnits).map(({ stride }) => stride);
  const isHead = (axis: View['axes'][number]) =>
    axis.some((atom) => atom.kind === 'column' && atom.stride !== undefined && strides.includes(atom.stride));
  if (site.kvHeads > 1) {
    const axis = view.axes.findIndex(isHead);
    const alone = view.axes[axis]?.every(({ kind }) => kind === 'column');
    return axis >= 0 && alone ? axis : undefined;
  }
  const single = view.axes.flatMap((axis, index) => (axis.length === 0 ? [index] : []));
  return single.length === 1 ? single[0] : single.find((index) => index === 1);
}

/** Replaces each output that shows the keys by positive and negative keys, one behind the other on the head axis. */
export function doublePresents(
  site: LocatedSite,
  session: RewriteSession,
  substitution: Substitution,
  builder: Builder,
): CachedKeys[] {
  const starts = [
    keyStart(site, session),
    ...keyPath(site, session).flatMap((node) => node.outputs.flatMap((v) => v ?? [])),
  ];
  return shownKeys(site, starts).map(({ value, nodes }) => {
    const view = keyViews(site, session, nodes).get(value);
    const axis = view && headAxis(view, site);
    if (axis === undefined) {
      fail(
        'cache',
        value.producer ?? site.anchor,
        'a present with heads on an axis of its own',
        `'${value.name}'`,
      );
    }
    return doubleOutput(site, session, value, cloneSlice(value, substitution, builder), axis);
  });
}

function doubleOutput(
  site: LocatedSite,
  session: RewriteSession,
  value: Value,
  negative: Value,
  axis: number,
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
  return { name, kind: 'present', axis, heads: site.kvHeads };
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
  const substitution: Substitution = new Map([[present, second]]);
  return shownKeys(site, [present]).map(({ value, nodes }) => {
    if (nodes.some((each) => !each.is('Cast', 'Identity'))) {
      fail('cache', node, 'present keys that are an output of the model', `'${value.name}'`);
    }
    const late = new Builder(site.scope, undefined, builder.prefix);
    return doubleOutput(site, session, value, cloneSlice(value, substitution, late), OPERATOR_HEADS);
  });
}

interface ShownKeys {
  readonly value: Value;
  readonly nodes: readonly Node[];
}

/** Outputs of the scope that keys reach through layout and casts. */
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
        !(isLayout(reader) || reader.is('Cast')) ||
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
