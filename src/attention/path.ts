import { constantSource, isDequantize } from '../analyse';
import { type Node, pushAll, type Value } from '../ir';
import type { Projection } from '../match/projection';
import { type AttentionSite, projectedSides } from './site';

/**
 * Module paths: where in the exported PyTorch (or other) module tree a node or a weight belongs. Exporters leave it in
 * names of parameters (`model.layers.0.self_attn.q_proj.bias`), in names of nodes
 * (`/model/layers.0/self_attn/q_proj/MatMul`, TorchScript) or in node metadata (dynamo).
 */

const NAME_SCOPES = 'pkg.torch.onnx.name_scopes';

/** The module whose forward function made a node; undefined where the exporter left no trace. */
export function moduleOfNode(node: Node): string | undefined {
  const scopes = node.metadata(NAME_SCOPES);
  if (scopes) {
    const parts = [...scopes.matchAll(/'([^']*)'|"([^"]*)"/g)].map((match) => match[1] ?? match[2] ?? '');
    return parts.slice(0, -1).findLast((part) => part !== '');
  }
  if (!node.name.startsWith('/')) return undefined;
  const parts = node.name.split('/').slice(1, -1);
  return parts.length > 0 ? cleanScopes(parts).join('.') : undefined;
}

/**
 * TorchScript repeats what a child inherits (`/m/m.0/MatMul`) and numbers a module that is called again
 * (`/a_1/MatMul`).
 */
function cleanScopes(parts: readonly string[]): string[] {
  const result: string[] = [];
  for (const part of parts.filter((each) => each !== '')) {
    const last = result.at(-1);
    if (last !== undefined && part.startsWith(`${last}.`)) result.push(part.slice(last.length + 1));
    else result.push(part);
  }
  return result;
}

/** The module that owns a parameter, if its name is a path and not one that an exporter made up. */
export function moduleOfParameter(name: string): { module: string; leaf: string } | undefined {
  const dot = name.lastIndexOf('.');
  if (dot <= 0 || name.includes('::') || name.includes('/') || !/^[\w.-]+$/.test(name)) return undefined;
  return { module: name.slice(0, dot), leaf: name.slice(dot + 1) };
}

interface OwnedBy {
  readonly module: string;
  /** True if the parameter belongs to a linear layer inside the attention, not to the attention itself. */
  readonly linear: boolean;
}

function owner(projection: Projection): OwnedBy | undefined {
  const values: (Value | undefined)[] = [projection.holder, projection.bias?.holder];
  for (const value of values) {
    const source = value && parameterBehind(value);
    const named = source && moduleOfParameter(source.name);
    if (named && !isStoredForAnother(source, named.module, projection))
      return { module: named.module, linear: /^(weight|bias|kernel|W|b)(_|$)/.test(named.leaf) };
  }
  return undefined;
}

/**
 * Exporters store equal weights once: the biases of a model that was never trained are one vector of zeros, and its name
 * is that of one of them. Where the module of the projection is known, it tells.
 */
function isStoredForAnother(source: Value, module: string, { node, bias }: Projection): boolean {
  const scope = moduleOfNode(node) ?? (bias && moduleOfNode(bias.node));
  return source.uses.size > 1 && scope !== undefined && withoutCalls(scope) !== withoutCalls(module);
}

/** A path without the numbers that TorchScript gives modules which are called again. */
function withoutCalls(path: string): string {
  return path.replace(/_\d+(?=\.|$)/g, '');
}

function parameterBehind(value: Value): Value {
  for (let source = constantSource(value); ; ) {
    const node = source.producer;
    const through = node && (node.is('Transpose', 'Cast') || isDequantize(node));
    const inner = through ? node.inputs[0] : undefined;
    if (!inner) return source;
    source = constantSource(inner);
  }
}

/** The part that all paths have in common, in whole components. */
export function commonPath(paths: readonly string[]): string {
  const [first, ...others] = paths.map((path) => path.split('.'));
  if (!first) return '';
  let length = first.length;
  for (const other of others) {
    let same = 0;
    while (same < length && first[same] === other[same]) same++;
    length = same;
  }
  return first.slice(0, length).join('.');
}

function parent(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('.')));
}

/** The module path of an attention as the exporter left it; undefined where it left none. */
export function attentionPath(site: Pick<AttentionSite, 'query' | 'key' | 'anchor'>): string | undefined {
  const projections = projectedSides(site).map(({ projection }) => projection);
  const owners = projections.map(owner).filter((each) => each !== undefined);
  const scope = moduleOfNode(site.anchor);
  if (owners.length > 0) {
    const path = fromOwners(owners, scope);
    if (path) return path;
  }
  const scopes = projections
    .map((projection) => moduleOfNode(projection.node))
    .filter((each) => each !== undefined);
  const all = scope === undefined ? scopes : [...scopes, scope];
  const common = commonPath(all);
  const [query] = scopes;
  if (query !== undefined && pathNumbers(common).length < pathNumbers(query).length) {
    return scope !== undefined && pathNumbers(scope).length === pathNumbers(query).length
      ? scope
      : parent(query);
  }
  const packed = new Set(scopes).size === 1 && common === scopes[0] && common !== scope;
  return (packed ? parent(common) : common) || scope || undefined;
}

function fromOwners(owners: readonly OwnedBy[], scope: string | undefined): string {
  const modules = [...new Set(owners.map(({ module }) => module))];
  const common = commonPath(modules);
  const [query] = owners;
  const shared = query && pathNumbers(common).length < pathNumbers(query.module).length;
  if (shared) {
    // What two layers of one kind share belongs to the first of them; otherwise the queries tell.
    const modules = owners.map(({ module, linear }) => (linear ? parent(module) : module));
    const [own = ''] = modules;
    const sameKind = modules.filter((module) => pathKind(module) === pathKind(own));
    return sameKind.sort((a, b) => compareNumbers(pathNumbers(b), pathNumbers(a)))[0] ?? own;
  }
  const single = modules.length === 1 && owners.every(({ linear }) => linear);
  if (!single) return common;
  return scope !== undefined && lastPart(scope) === lastPart(common) ? common : parent(common) || common;
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1);
}

/** A path with its numbers removed: equal for all layers of one kind. */
export function pathKind(path: string): string {
  return path.replace(/\d+/g, '#');
}

/** The numbers of a path, outermost first. */
export function pathNumbers(path: string): number[] {
  return [...path.matchAll(/\d+/g)].map((match) => Number(match[0]));
}

/** Negative where the first numbers come before the second. */
export function compareNumbers(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? -1) - (b[i] ?? -1);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** How far a named parameter may be from an attention to tell the layer it is in. */
const NEARBY = 40;

/**
 * The numbered module around the nearest named parameter, behind or before an attention: `model.layers.3` for
 * `model.layers.3.input_layernorm.weight`. Optimizers leave such names where they drop those of the attention.
 */
export function nearbyLayer(start: Value, direction: 'before' | 'behind'): string | undefined {
  const seen = new Set<Node>();
  const open: Value[] = [start];
  for (let value = open.shift(); value && seen.size < NEARBY; value = open.shift()) {
    const nodes = direction === 'before' ? (value.producer ? [value.producer] : []) : value.readers;
    for (const node of nodes) {
      if (seen.has(node)) continue;
      seen.add(node);
      const layer = node.inputs.flatMap((input) => (input ? (layerOfParameter(input) ?? []) : []))[0];
      if (layer !== undefined) return layer;
      const next = direction === 'before' ? node.inputs : node.outputs;
      pushAll(
        open,
        next.flatMap((each) => each ?? []),
      );
    }
  }
  return undefined;
}

function layerOfParameter(value: Value): string | undefined {
  if (!value.isInitializer) return undefined;
  const parts = moduleOfParameter(value.name)?.module.split('.') ?? [];
  const last = parts.findLastIndex((part) => /^\d+$/.test(part));
  return last < 0 ? undefined : parts.slice(0, last + 1).join('.');
}
