import { ancestors, descendants } from '../analyse';
import {
  callsIn,
  functionKey,
  inlineFunctions,
  keyOfFunction,
  type LocalFunction,
  load,
  type Model,
  type Node,
  type Origin,
  type Origins,
  type Value,
} from '../ir';
import { type Found, findAttention, type LocatedSite } from './find';
import type { Recogniser } from './recogniser';
import { DOMAIN } from './record';
import { branchesOf, projectedSides } from './site';

/**
 * Attention behind calls of local functions. What belongs to an attention is put in the place of its calls before anybody
 * looks, so that no recogniser and no lowering has to know of functions; all other functions stay as they are.
 */

/** Inlines the functions that hold a part of an attention; gives their names. */
export function inlineAttention(model: Model, recognisers: readonly Recogniser[]): string[] {
  if (!callsAny(model)) return [];
  const trial = load(model.file);
  const origins = inlineFunctions(trial, isForeign);
  const whole = findAttention(trial, recognisers);
  if (whole.analysis.candidates.length === 0) return [];
  const needed = withCallers(model, neededFunctions(whole, origins));
  if (needed.size === 0) return [];
  const inlined = new Set<string>();
  const inline = (isWanted: (fn: LocalFunction) => boolean) => {
    for (const { fn } of new Set(inlineFunctions(model, isWanted).values())) inlined.add(fn.proto.name ?? '');
  };
  inline(({ proto }) => needed.has(keyOfFunction(proto)));
  // What stands in calls between the parts may be what tells their shapes.
  if (findAttention(model, recognisers).sites.length < whole.sites.length) inline(isForeign);
  return [...inlined];
}

/** Functions that diffx wrote itself are what they shall be. */
function isForeign({ proto }: LocalFunction): boolean {
  return proto.domain !== DOMAIN;
}

function callsAny(model: Model): boolean {
  const keys = new Set(model.functions.filter(isForeign).map(({ proto }) => keyOfFunction(proto)));
  if (keys.size === 0) return false;
  const isCall = ({ domain, opType, overload }: Node) => keys.has(functionKey(domain, opType, overload));
  return [...model.graph.scopes()].some(({ nodes }) => nodes.some(isCall));
}

/** The functions that hold a node of an attention, or the softmax of one that was not understood. */
function neededFunctions({ sites, misses }: Found, origins: Origins): Set<string> {
  const nodes = [
    ...sites.flatMap((site) => [...partsOf(site)]),
    ...misses.flatMap(({ candidate, reason }) => [candidate.anchor, reason.node]),
  ];
  const seen = new Set<Origin>();
  for (const node of nodes) {
    for (const each of withOwners(node)) {
      for (let origin = origins.get(each); origin && !seen.has(origin); origin = origin.outer)
        seen.add(origin);
    }
  }
  return new Set([...seen].map(({ fn }) => keyOfFunction(fn.proto)));
}

/** A node, and those in whose bodies it stands. */
function* withOwners(node: Node): Iterable<Node> {
  for (let at: Node | undefined = node; at; at = at.graph.owner) yield at;
}

/** What is computed from the projections to the output, the projections, and what stands before their weights. */
function* partsOf(site: LocatedSite): Iterable<Node> {
  const { core, key } = site;
  const sides = projectedSides(site);
  const starts = new Set<Value>([
    ...sides.flatMap(branchesOf).map(({ projection }) => projection.output),
    key.separated,
    core.values,
  ]);
  yield site.anchor;
  if (core.output.producer) yield core.output.producer;
  yield* descendants(starts, ancestors(core.output, starts));
  if (core.values.producer) yield core.values.producer;
  for (const { projection } of sides.flatMap(branchesOf)) {
    const { input, output, node, weight, bias, quantized } = projection;
    yield node;
    yield* descendants([input], ancestors(output, new Set([input])));
    const stored = [weight, bias?.value, ...(quantized?.parts ?? []).map(({ value }) => value)];
    for (const value of stored) if (value) yield* ancestors(value, new Set());
  }
}

/** A function inside another one comes out of it only if that one is inlined as well. */
function withCallers(model: Model, keys: ReadonlySet<string>): Set<string> {
  const callers = new Map<string, string[]>();
  for (const fn of model.functions) {
    const caller = keyOfFunction(fn.proto);
    for (const key of callsIn(fn)) {
      const known = callers.get(key);
      if (known) known.push(caller);
      else callers.set(key, [caller]);
    }
  }
  const all = new Set(keys);
  for (const key of all) for (const caller of callers.get(key) ?? []) all.add(caller);
  return all;
}
