import type { Subgraph } from './subgraph';

/** An attention as the model had it, and as diffx has rewritten it; undefined where that is not known. */
export interface Sides {
  readonly before: Subgraph | undefined;
  readonly after: Subgraph | undefined;
}

/** One picture for all attentions that look the same. */
export interface Picture extends Sides {
  /** Paths of the attentions. The first one is drawn. */
  readonly paths: readonly string[];
}

/**
 * One picture for each distinct shape of a layer: a model of eighty equal layers gives one.
 * @param attentions by path, in the order of the report
 */
export function pictures(attentions: ReadonlyMap<string, Sides>): Picture[] {
  const groups = new Map<string, Sides & { readonly paths: string[] }>();
  for (const [path, sides] of attentions) {
    const key = JSON.stringify([shapeOf(sides.before), shapeOf(sides.after)]);
    const known = groups.get(key);
    if (known) known.paths.push(path);
    else groups.set(key, { paths: [path], ...sides });
  }
  return [...groups.values()].filter(({ before, after }) => before ?? after);
}

/** What makes two pictures the same: operators, arrows and numbers in shapes; not names. */
function shapeOf(subgraph: Subgraph | undefined): unknown {
  if (!subgraph) return null;
  const boxes = subgraph.boxes.map(({ kind, titles, negative, shape }) => [
    kind,
    kind === 'input' ? '' : titles,
    negative,
    shape.map((size) => (/^\d+$/.test(size) ? size : '?')),
  ]);
  return [boxes, subgraph.arrows];
}
