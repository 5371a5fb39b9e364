import { ancestors, descendants } from '../../analyse';
import type { LocatedSite } from '../../attention/find';
import { projectedSides } from '../../attention/site';
import type { Node } from '../../ir';

/** Which attention a node or a weight of the original belongs to, so that findings can say so. */
export class Owners {
  readonly #paths = new Map<Node | string, string>();

  constructor(sites: readonly LocatedSite[]) {
    for (const site of sites) {
      const projections = projectedSides(site).map(({ projection }) => projection);
      const outputs = projections.map(({ output }) => output);
      const inside = descendants(outputs, ancestors(site.core.output, new Set(outputs)));
      const weights = projections.flatMap(({ tensor, bias }) => [tensor.name, bias?.tensor.name]);
      const all = [...inside, ...projections.map(({ node }) => node), ...weights];
      for (const each of all) if (each && !this.#paths.has(each)) this.#paths.set(each, site.path);
    }
  }

  /** Path of the attention that a node, or a weight by name, belongs to. */
  of(what: Node | string | undefined): string | undefined {
    return what === undefined ? undefined : this.#paths.get(what);
  }
}
