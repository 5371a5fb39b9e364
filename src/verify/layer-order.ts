import type { LocatedSite } from '../attention/find';
import type { RewriteRecord, RewrittenLayer } from '../attention/record';
import type { Graph, Node } from '../ir';
import type { Check } from './report';

/**
 * The attention of the original behind each recorded layer. Branches of an If may call what they give the same: those
 * are recorded in the order in which they are found.
 */
export function matchLayers(
  record: RewriteRecord,
  sites: readonly LocatedSite[],
): { layer: RewrittenLayer; site: LocatedSite }[] {
  const taken = new Set<LocatedSite>();
  return record.layers.flatMap((layer) => {
    const site = sites.find((each) => !taken.has(each) && each.core.output.name === layer.output);
    if (!site) return [];
    taken.add(site);
    return [{ layer, site }];
  });
}

/** Attentions in the order in which the data flows through them; graphs are sorted when they are read. */
export function inDataOrder<T>(items: readonly T[], siteOf: (item: T) => LocatedSite): T[] {
  const placed = items.map((item) => ({ item, place: placeOf(siteOf(item).scope, siteOf(item).anchor) }));
  return placed.sort((a, b) => before(a.place, b.place)).map(({ item }) => item);
}

/** The first attention that any check complains about: what comes behind it may only follow. */
export function firstLayer(checks: readonly Check[], sites: readonly LocatedSite[]): string | undefined {
  const named = new Set(checks.flatMap(({ findings }) => findings.map(({ layer }) => layer)));
  return inDataOrder(sites, (site) => site).find(({ path }) => named.has(path))?.path;
}

/** Indices of a node and of those whose bodies it stands in, outermost first; which body it is in between. */
function placeOf(scope: Graph, node: Node): number[] {
  const { owner, parent } = scope;
  const own = scope.nodes.indexOf(node);
  if (!owner || !parent) return [own];
  return [...placeOf(parent, owner), [...owner.bodies.values()].indexOf(scope), own];
}

function before(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? -1) - (b[i] ?? -1);
    if (difference !== 0) return difference;
  }
  return 0;
}
