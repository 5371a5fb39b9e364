import type { RewriteRecord } from '../attention/record';
import type { Model, Value } from '../ir';
import type { TensorProto } from '../onnx';

/**
 * A checkpoint also fills what the original has: its norms, MLPs, embeddings. What a rewritten model gives is compared
 * with the original under the same weights; that they are those of the checkpoint is another check's business.
 */

/** True where a checkpoint filled something of the original. */
export function fillsOriginal(original: Model, { loaded, separated }: RewriteRecord): boolean {
  return Object.keys(loaded).some((name) => name in separated || isStored(original.graph.values.get(name)));
}

/** Puts the weights that a checkpoint filled into a copy of the original. */
export function putLoaded(copy: Model, rewritten: Model, { loaded, separated }: RewriteRecord): void {
  for (const name of Object.keys(loaded)) {
    const given = rewritten.graph.values.get(name)?.initializer;
    if (!given) continue;
    const whole = separated[name];
    if (whole !== undefined) putPart(copy, rewritten, name, whole, given);
    const value = copy.graph.values.get(name);
    if (value && isStored(value)) copy.replaceInitializer(value, taken(rewritten, given, name));
  }
}

function isStored(value: Value | undefined): boolean {
  return value?.initializer !== undefined;
}

/** A weight that the original stores as part of another gets a place of its own: with whoever reads it. */
function putPart(copy: Model, rewritten: Model, name: string, whole: string, given: TensorProto): void {
  const readers = new Set<string>();
  for (const { node } of rewritten.graph.values.get(name)?.uses ?? [])
    for (const output of node.outputs) if (output) readers.add(output.name);
  const value = copy.graph.values.get(whole);
  if (!value) return;
  const part = copy.graph.addInitializer(name, taken(rewritten, given, name));
  for (const { node, index } of [...value.uses]) {
    if (node.outputs.some((output) => output && readers.has(output.name)))
      node.graph.setInput(node, index, part);
  }
}

function taken(rewritten: Model, tensor: TensorProto, name: string): TensorProto {
  return { ...tensor, name, rawData: rewritten.file.tensorBytes(tensor), dataLocation: 0, externalData: [] };
}
