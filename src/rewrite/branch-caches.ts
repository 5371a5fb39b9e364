import { constantTensor } from '../analyse';
import type { LocatedSite } from '../attention/find';
import { errors } from '../errors';
import type { Graph, Value } from '../ir';
import { fail } from '../match/outcome';
import { attribute } from './attributes';
import { Builder, takeOver } from './builder';
import { doubledType } from './cache-types';
import type { RewriteSession } from './session';

/** Caches of keys that leave the body of an If: what one branch doubles, the other must double as well. */

/** The outputs of the nodes around follow an output of a body that has twice the key heads. */
export function followOut(site: LocatedSite, value: Value, axis: number, session: RewriteSession): void {
  const { scope } = value;
  session.markDoubled(value, { site, axis });
  const { owner } = scope;
  if (owner && !owner.is('If')) {
    const what = `keys of ${site.path}, which ${owner.opType} hands from round to round or stacks`;
    fail('cache', owner, 'keys that stay in the body of a loop', what);
  }
  const output = scope.handedOut(value);
  if (!output || !scope.parent || !session.markDoubled(output, { site, axis })) return;
  const [reader] = output.readers;
  if (reader) fail('cache', reader, 'keys that leave a body to be shown alone', `'${output.name}' read`);
  scope.parent.setType(output, doubledType(output.type, axis));
  if (output.isOutput) followOut(site, output, axis, session);
}

/**
 * Doubles what a branch gives in the place of keys that another one computes: nothing, as merged decoders do for caches
 * that stay as they were.
 * @throws DiffxError unrewritten where a branch gives keys that no rewritten attention knows
 */
export function completeBranches(session: RewriteSession): void {
  for (const [value, { site, axis }] of [...session.doubled]) {
    const node = value.producer;
    if (!node?.is('If')) continue;
    for (const body of node.bodies.values()) {
      const given = body.outputs[value.outputIndex];
      if (given && !session.doubled.has(given)) doubleNothing(site, body, given, axis, session);
    }
  }
}

function doubleNothing(
  site: LocatedSite,
  body: Graph,
  given: Value,
  axis: number,
  session: RewriteSession,
): void {
  const { name } = given;
  if (!isNothing(given)) {
    const where = `'${name}' of ${body.label}`;
    throw errors.halfACache(session.model.file.path, where, site.path);
  }
  const builder = new Builder(body, undefined, site.path);
  const both = builder.op('Concat', [given, given], {
    attributes: [attribute.int('axis', axis)],
    name: 'no_keys',
  });
  takeOver(given, both, []);
  body.setType(both, doubledType(both.type, axis));
  session.markDoubled(both, { site, axis });
  session.addCache(site, { name, kind: 'present', axis, heads: site.kvHeads });
}

/** True for a constant without elements. */
function isNothing(value: Value): boolean {
  return constantTensor(value)?.dims.includes(0n) ?? false;
}

/** The second keys are made where the attention is: what a graph around its body shows has none to be joined with. */
export function refuseOuterPresent({ scope, anchor }: LocatedSite, present: Value): void {
  if (present.scope === scope) return;
  const wanted = 'a present of the graph that the attention is in';
  fail('cache', present.producer ?? anchor, wanted, `'${present.name}' of a graph around it`);
}
