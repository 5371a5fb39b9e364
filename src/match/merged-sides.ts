import type { Analysis } from './context';
import { type FedKeys, isProjected } from './fed-keys';
import { fail } from './outcome';
import { reachProjections } from './reach';
import { type Branch, branchesOf, type Side } from './side';
import type { ScoreProduct } from './softmax-products';

/** A product of scores with its queries and keys. */
export interface TracedScores extends ScoreProduct {
  readonly query: Side;
  readonly key: Side | FedKeys;
}

/**
 * Scores that are put together from several products: the first one has the most heads and columns, and the projections of
 * the others are further branches of its sides. Products of other queries add to the width.
 */
export function mergeSides(all: readonly TracedScores[], analysis: Analysis): TracedScores {
  const [first, ...others] = [...all].sort(compareProducts);
  if (!first) throw new Error('no product of scores');
  if (others.length === 0) return first;
  let width = first.query.width;
  const operands = new Set([first.query.operand]);
  const keys = all.map(({ scores, key }) => {
    const { fed } = reachProjections(key.operand, analysis.dataflow, analysis.shapes);
    if (!isProjected(key) || fed.length > 0) {
      const found = `'${fed[0]?.name ?? key.operand.name}' beside other products`;
      fail('cache', scores, 'keys that are not cached, where several products are put together', found);
    }
    return key;
  });
  const key = keys[all.indexOf(first)];
  if (!key) throw new Error('no keys');
  for (const { scores, query } of others) {
    if (query.heads !== first.query.heads) {
      const found = `${query.heads} heads beside ${first.query.heads}`;
      fail('heads-do-not-divide', scores, 'products of scores of as many heads', found);
    }
    if (!operands.has(query.operand)) width += query.width;
    operands.add(query.operand);
  }
  const queries = all.map(({ query }) => query);
  return {
    ...first,
    query: { ...first.query, width, further: furtherOf(first.query, queries) },
    key: { ...key, width, further: furtherOf(key, keys) },
  };
}

/** Which product comes first must not depend on the order in which an exporter writes a sum. */
function compareProducts(a: TracedScores, b: TracedScores): number {
  return (
    b.query.heads - a.query.heads ||
    b.key.heads - a.key.heads ||
    b.query.width - a.query.width ||
    b.query.projection.inFeatures - a.query.projection.inFeatures
  );
}

/** The branches of all sides but the first one of one of them; what several products read is there once. */
function furtherOf(first: Side, sides: readonly Side[]): Branch[] {
  const seen = new Set([first.separated]);
  return [first, ...sides].flatMap(branchesOf).filter(({ separated }) => {
    const isNew = !seen.has(separated);
    seen.add(separated);
    return isNew;
  });
}
