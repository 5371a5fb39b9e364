import type { Graph, Model, Value } from '../ir';

/** The bodies around a scope, outermost first: the first output of the node, and the attribute that holds the body. */
export type ScopePath = readonly { readonly output: string; readonly body: string }[];

/** A value by name, and from where it is seen: the branches of an If may use the same names. */
export interface Place {
  readonly scope: ScopePath;
  readonly name: string;
}

/** The way to a scope from the main graph; empty for that itself. */
export function pathOf(scope: Graph): ScopePath {
  const { owner, parent } = scope;
  if (!owner || !parent) return [];
  const body = [...owner.bodies].find(([, graph]) => graph === scope)?.[0] ?? '';
  const output = owner.outputs.find((value) => value !== undefined)?.name ?? '';
  return [...pathOf(parent), { output, body }];
}

/** The scope of a model, or of a copy of it, at a path. */
export function scopeAt(model: Model, path: ScopePath): Graph | undefined {
  let scope: Graph | undefined = model.graph;
  for (const { output, body } of path) scope = scope?.values.get(output)?.producer?.bodies.get(body);
  return scope;
}

/** The value that is called so in the scope of a place, or in one around it. */
export function valueAt(model: Model, { scope, name }: Place): Value | undefined {
  return scopeAt(model, scope)?.find(name);
}

/** Equal for equal places. */
export function keyOf({ scope, name }: Place): string {
  return JSON.stringify([scope.map(({ output, body }) => [output, body]), name]);
}
