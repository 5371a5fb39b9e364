import { isShapeReader } from '../../analyse';
import type { WrittenOutCore } from '../../attention/site';
import { declaredShape, type Node, type Value } from '../../ir';

/** Who sees an attention map, and what they may say of it once its heads are halved. */

/** Who reads a map besides the product with values; whoever asks for its shape alone sees what it saw before. */
function seesMap({ product }: WrittenOutCore, reader: Node): boolean {
  return reader !== product && !isShapeReader(reader);
}

/** True where somebody besides the product with values sees the probabilities. */
export function isMapShown(core: WrittenOutCore): boolean {
  const { probabilities, joined } = core;
  if (joined) return false;
  return probabilities.isOutput || probabilities.readers.some((reader) => seesMap(core, reader));
}

/** The map, all that is made of it besides what the attention gives, and what the nodes around hand these on as. */
export function shownBy(core: WrittenOutCore): Set<Value> {
  const shown = new Set<Value>([core.probabilities]);
  for (const value of shown) {
    const outer = value.scope.handedOut(value);
    if (outer) shown.add(outer);
    for (const reader of value.readers) {
      if (!seesMap(core, reader)) continue;
      for (const output of reader.outputs) if (output) shown.add(output);
    }
  }
  return shown;
}

/** Nodes that read what shows a map: a rewrite may have put them behind the place where the map comes to be. */
export function showingNodes(core: WrittenOutCore): Set<Node> {
  const nodes = new Set<Node>();
  for (const value of shownBy(core)) {
    for (const reader of value.readers) {
      if (!seesMap(core, reader)) continue;
      for (let at: Node | undefined = reader; at; at = at.graph.owner) nodes.add(at);
    }
  }
  return nodes;
}

/**
 * True where a declared type is the one that was, or says half of the heads: one number became half of itself, and no more.
 * A symbol may stay or not.
 */
export function isHalvedType(was: Value, is: Value, splits: boolean): boolean {
  if (was.type?.tensorType?.elemType !== is.type?.tensorType?.elemType) return false;
  const [before, now] = [declaredShape(was), declaredShape(is)];
  if (before?.length !== now?.length) return false;
  const changed = before?.flatMap((size, axis) => (size === now?.[axis] ? [] : [axis])) ?? [];
  const halved = (axis: number) => {
    const [size, next] = [before?.[axis], now?.[axis]];
    return typeof size === 'number' ? next === size / 2 : typeof next !== 'string';
  };
  return changed.length <= (splits ? 1 : 0) && changed.every(halved);
}
