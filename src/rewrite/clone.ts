import { ancestors, dataInputs, isShapeReader } from '../analyse';
import type { LocatedSite } from '../attention/find';
import { isDoubled } from '../attention/presets';
import { type SecondProjection, secondProjections } from '../attention/second-projections';
import { branchesOf, isProjected } from '../attention/site';
import type { Node, Value } from '../ir';
import { fail } from '../match/outcome';
import { Builder } from './builder';
import { secondProjection } from './second-projection';
import type { RewriteSession } from './session';

/** What stands in for values of the positive component in the negative one. */
export type Substitution = Map<Value, Value>;

/** Adds the second projections of a site; the result says what they stand in for. */
export function projectNegative(site: LocatedSite, session: RewriteSession, builder: Builder): Substitution {
  const substitution: Substitution = new Map();
  for (const second of secondProjections(site, session.options))
    if (!substitution.has(second.branch.separated))
      substitution.set(second.branch.separated, projectOnce(site, second, session, builder));
  // Keys that come out of the projection of the queries, and stay as they are.
  const { key } = site;
  const starts = isProjected(key) ? branchesOf(key) : [key];
  const shared = starts.some(({ separated }) => substitution.has(separated));
  if (!shared || isDoubled(session.options, 'key')) return substitution;
  return substitution.set(key.operand, key.operand);
}

/** A second projection; one that several attentions read is made once, behind the model's own. */
function projectOnce(
  site: LocatedSite,
  { path, name, branch }: SecondProjection,
  session: RewriteSession,
  builder: Builder,
): Value {
  const parameters = session.parameters.ofProjection(site, { path, name });
  const make = (place: Builder) => secondProjection(place, site, branch, name, parameters);
  const { producer, scope } = branch.separated;
  if (!producer || !session.isShared(branch)) return make(builder);
  return session.once(branch, () => {
    const next = scope.nodes[scope.nodes.indexOf(producer) + 1];
    return make(new Builder(scope, next, path));
  });
}

/**
 * Copies everything on the way from the substituted values to `target`; what does not depend on them (masks, rotary
 * tables, position biases) and what only reads shapes is shared.
 * @returns the value that stands in for `target`
 */
export function cloneSlice(target: Value, substitution: Substitution, builder: Builder): Value {
  const standIns = new Map(substitution);
  const slice = ancestors(target, new Set(substitution.keys()));
  if (target.scope.parent) refuseOuterLayout(target, slice, substitution);
  for (const node of slice) {
    if (isShapeReader(node) || !dataInputs(node).some((input) => standIns.has(input))) continue;
    if (node.bodies.size > 0) fail('control-flow', node, 'operators without bodies', node.operator);
    cloneNode(node, standIns, builder);
  }
  const result = standIns.get(target);
  if (!result) throw new Error(`'${target.name}' does not depend on the projections`);
  return result;
}

/** A copy stands in one body: what lies between the projections and the scores may not stand around it. */
function refuseOuterLayout(target: Value, slice: readonly Node[], substitution: Substitution): void {
  const read = [target, ...slice.flatMap(dataInputs)].filter(({ scope }) => scope !== target.scope);
  const seen = new Set<Value>();
  for (const outer of read) {
    const open = [outer];
    for (let value = open.pop(); value; value = open.pop()) {
      if (seen.has(value) || (value === outer && substitution.has(value))) continue;
      seen.add(value);
      const { producer } = value;
      if (value !== outer && substitution.has(value)) {
        const at = outer.producer ?? producer;
        const wanted = 'queries and keys that are laid out where the attention is';
        if (at) fail('control-flow', at, wanted, `'${outer.name}' of a graph around its body`);
      }
      if (producer) open.push(...dataInputs(producer));
    }
  }
}

function cloneNode(node: Node, standIns: Map<Value, Value>, builder: Builder): void {
  const inputs = node.inputs.map((input) => input && (standIns.get(input) ?? input));
  const outputs = builder.copy(node, inputs, '/negative');
  node.outputs.forEach((value, index) => {
    const copy = outputs[index];
    if (value && copy) standIns.set(value, copy);
  });
}
