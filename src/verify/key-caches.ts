import type { CachedKeys, RewriteRecord } from '../attention/record';
import type { Graph, Model, Value } from '../ir';
import type { Tensor, TensorData } from './tensor';

/**
 * Caches of keys in duplicate mode, SPEC section 5: inputs and outputs that hold twice the heads, those of the positive
 * component first.
 */

export type Component = 'positive' | 'negative';

/** An input or output of the main graph with twice the heads. */
export interface DoubledKeys {
  readonly name: string;
  readonly axis: number;
  /** Heads in the original. */
  readonly heads: number;
}

/** The inputs of the main graph that hold twice the key heads. */
export function doubledInputs(record: RewriteRecord): DoubledKeys[] {
  return distinct(cachesOf(record, 'past'));
}

/** The outputs of the main graph; a present inside a body is followed out of it. */
export function doubledOutputs(model: Model, record: RewriteRecord): DoubledKeys[] {
  const outputs = cachesOf(record, 'present').flatMap(({ name, axis, heads }) => {
    const values = [...model.graph.scopes()].flatMap((scope) => scope.values.get(name) ?? []);
    return values.flatMap(shownAs).map((output) => ({ name: output.name, axis, heads }));
  });
  return distinct(outputs);
}

/** A value, and the outputs of the nodes around through which bodies hand it on. */
export function* handedOn(value: Value): Iterable<Value> {
  yield value;
  const outer = value.scope.handedOut(value);
  if (outer) yield* handedOn(outer);
}

function shownAs(value: Value): Value[] {
  return [...handedOn(value)].filter((each) => isMain(each.scope) && each.isOutput);
}

function isMain(scope: Graph): boolean {
  return scope.parent === undefined;
}

/** The caches of one kind, of all layers. */
export function cachesOf(record: RewriteRecord, kind: CachedKeys['kind']): CachedKeys[] {
  return record.layers.flatMap(({ caches }) => (caches ?? []).filter((cache) => cache.kind === kind));
}

function distinct(caches: readonly DoubledKeys[]): DoubledKeys[] {
  return [...new Map(caches.map((cache) => [cache.name, cache])).values()];
}

/**
 * Feeds of the original as the rewritten model takes them.
 * @param component which one gets the past of the original; the other one, if there is one, gets another past
 */
export function doubleFeeds(
  feeds: Readonly<Record<string, Tensor>>,
  inputs: readonly DoubledKeys[],
  component: Component | 'both',
): Record<string, Tensor> {
  const doubled = inputs.flatMap(({ name, axis }): [string, Tensor][] => {
    const past = feeds[name];
    if (!past) return [];
    const other = component === 'both' ? past : reversed(past);
    const [first, second] = component === 'negative' ? [other, past] : [past, other];
    return [[name, joined(first, second, axis)]];
  });
  return { ...feeds, ...Object.fromEntries(doubled) };
}

/** Outputs of the rewritten model as the original has them: of doubled keys the half of one component. */
export function halveOutputs(
  outputs: Readonly<Record<string, Tensor>>,
  doubled: readonly DoubledKeys[],
  component: Component = 'positive',
): Record<string, Tensor> {
  const halves = doubled.flatMap(({ name, axis }): [string, Tensor][] => {
    const present = outputs[name];
    return present ? [[name, half(present, axis, component === 'positive' ? 0 : 1)]] : [];
  });
  return { ...outputs, ...Object.fromEntries(halves) };
}

function reversed(tensor: Tensor): Tensor {
  return { ...tensor, data: tensor.data.slice().reverse() as TensorData };
}

/** Two tensors of one shape, one behind the other on an axis. */
function joined(first: Tensor, second: Tensor, axis: number): Tensor {
  const shape = first.shape.map((size, index) => (index === axis ? size * 2 : size));
  const run = runOf(first.shape, axis);
  const data = first.data.slice(0, 0);
  const all = new (data.constructor as new (length: number) => TensorData)(first.data.length * 2);
  for (let at = 0; at < first.data.length; at += run) {
    all.set(first.data.subarray(at, at + run) as never, at * 2);
    all.set(second.data.subarray(at, at + run) as never, at * 2 + run);
  }
  return { dtype: first.dtype, shape, data: all };
}

function half(tensor: Tensor, axis: number, which: 0 | 1): Tensor {
  const shape = tensor.shape.map((size, index) => (index === axis ? size / 2 : size));
  const run = runOf(shape, axis);
  const data = tensor.data.slice(0, tensor.data.length / 2) as TensorData;
  for (let at = 0; at < data.length; at += run)
    data.set(tensor.data.subarray(at * 2 + which * run, at * 2 + which * run + run) as never, at);
  return { dtype: tensor.dtype, shape, data };
}

/** Elements from an axis on. */
function runOf(shape: readonly number[], axis: number): number {
  return shape.slice(axis).reduce((all, size) => all * size, 1);
}
