import { ancestors, dataInputs, isShapeReader } from '../analyse';
import type { LocatedSite } from '../attention/find';
import { isDoubled } from '../attention/presets';
import { secondProjections } from '../attention/second-projections';
import { branchesOf, isProjected } from '../attention/site';
import type { Node, Value } from '../ir';
import { fail } from '../match/outcome';
import type { Builder } from './builder';
import { secondProjection } from './second-projection';
import type { RewriteSession } from './session';

/** What stands in for values of the positive component in the negative one. */
export type Substitution = Map<Value, Value>;

/** Adds the second projections of a site; the result says what they stand in for. */
export function projectNegative(site: LocatedSite, session: RewriteSession, builder: Builder): Substitution {
  const parameters = session.parameters.of(site);
  const substitution: Substitution = new Map();
  for (const { name, branch } of secondProjections(site, session.options))
    substitution.set(branch.separated, secondProjection(builder, site, branch, name, parameters));
  // Keys that come out of the projection of the queries, and stay as they are.
  const { key } = site;
  const starts = isProjected(key) ? branchesOf(key) : [key];
  const shared = starts.some(({ separated }) => substitution.has(separated));
  if (!shared || isDoubled(session.options, 'key')) return substitution;
  return substitution.set(key.operand, key.operand);
}

/**
 * Copies everything on the way from the substituted values to `target`; what does not depend on them (masks, rotary
 * tables, position biases) and what only reads shapes is shared.
 * @returns the value that stands in for `target`
 */
export function cloneSlice(target: Value, substitution: Substitution, builder: Builder): Value {
  const standIns = new Map(substitution);
  for (const node of ancestors(target, new Set(substitution.keys()))) {
    if (isShapeReader(node) || !dataInputs(node).some((input) => standIns.has(input))) continue;
    if (node.bodies.size > 0) fail('control-flow', node, 'operators without bodies', node.operator);
    cloneNode(node, standIns, builder);
  }
  const result = standIns.get(target);
  if (!result) throw new Error(`'${target.name}' does not depend on the projections`);
  return result;
}

function cloneNode(node: Node, standIns: Map<Value, Value>, builder: Builder): void {
  const inputs = node.inputs.map((input) => input && (standIns.get(input) ?? input));
  const outputs = builder.copy(node, inputs, '/negative');
  node.outputs.forEach((value, index) => {
    const copy = outputs[index];
    if (value && copy) standIns.set(value, copy);
  });
}
