import type { Node } from './node';

/** Room between two nodes for new ones. */
const SPACE = 2 ** 20;

/**
 * Which of two nodes stands first, without looking for them: every node has a rank. A new node gets one between those of
 * its neighbours; where there is no room left, all are numbered anew. Nodes that are taken out change nothing.
 */
export class NodeOrder {
  #ranks: Map<Node, number> | undefined;

  #rankOf(nodes: readonly Node[]): Map<Node, number> {
    this.#ranks ??= new Map(nodes.map((node, index) => [node, index * SPACE]));
    return this.#ranks;
  }

  /** To be called before nodes are inserted at an index. */
  insert(nodes: readonly Node[], at: number, made: readonly Node[]): void {
    const ranks = this.#ranks;
    const [before, behind] = [nodes[at - 1], nodes[at]];
    if (!ranks) return;
    const to = behind ? ranks.get(behind) : undefined;
    const from = (before ? ranks.get(before) : undefined) ?? (to ?? 0) - SPACE;
    const gap = to === undefined ? SPACE : to - from;
    const step = Math.min(1, gap / (made.length + 1));
    const last = from + made.length * step;
    // numbers have an end
    if (from + step === from || (to !== undefined && last >= to)) {
      this.#ranks = undefined;
      return;
    }
    made.forEach((node, index) => {
      ranks.set(node, from + (index + 1) * step);
    });
  }

  /** To be called when nodes have changed their places. */
  forget(): void {
    this.#ranks = undefined;
  }

  indexOf(nodes: readonly Node[], node: Node): number {
    const ranks = this.#rankOf(nodes);
    const rank = ranks.get(node);
    if (rank === undefined) return nodes.indexOf(node);
    let [low, high] = [0, nodes.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = nodes[middle];
      if (other && (ranks.get(other) ?? 0) < rank) low = middle + 1;
      else high = middle;
    }
    return nodes[low] === node ? low : -1;
  }

  sorted(nodes: readonly Node[], some: Iterable<Node>): Node[] {
    const ranks = this.#rankOf(nodes);
    const ranked = Array.from(some, (node) => ({ node, rank: ranks.get(node) ?? 0 }));
    return ranked.sort((a, b) => a.rank - b.rank).map(({ node }) => node);
  }
}
