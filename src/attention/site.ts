import type { LostView, View } from '../analyse';
import type { Graph, Node, Use, Value } from '../ir';
import { type FedKeys, isProjected } from '../match/fed-keys';
import type { Arrangement } from '../match/product';
import type { HeadedSide, Side } from '../match/side';

export type { FedKeys } from '../match/fed-keys';
export { type Branch, branchesOf, type ColumnUnit, type HeadedSide, type Side } from '../match/side';
export { isProjected };

/**
 * An attention, whoever exported it: what every recogniser reduces to and every lowering reads.
 *
 * Shapes: B batch, S query length, T key length, H query heads, G key heads, D width of a query or key head, E width
 * of a value head.
 */
export interface AttentionSite {
  /** The softmax or the fused operator: what the count of candidates knows the attention by. */
  readonly anchor: Node;
  /** The recogniser that found it. */
  readonly recogniser: string;
  readonly scope: Graph;
  readonly query: Side;
  readonly key: Side | FedKeys;
  readonly core: WrittenOutCore | OperatorCore;
  /** H. */
  readonly heads: number;
  /** G. */
  readonly kvHeads: number;
  /** D. */
  readonly headWidth: number;
  /** E. */
  readonly valueWidth: number;
  /** Element type of the map, the values and what both give, a `DataType`. */
  readonly dataType: number;
  /** Element type of what the queries are projected from. */
  readonly inputType: number;
  /** For people: how scores come about. */
  readonly traits: SiteTraits;
}

/** The sides that linear layers of the graph compute: both, or the queries alone. */
export function projectedSides({ query, key }: Pick<AttentionSite, 'query' | 'key'>): Side[] {
  return isProjected(key) ? [query, key] : [query];
}

/** How many columns make up the heads of a side. */
export function columnsOf({ heads, width }: HeadedSide): number {
  return heads * width;
}

/** Attention written out in operators. */
export interface WrittenOutCore {
  readonly kind: 'written-out';
  /** The product of queries and keys; where several are put together, the first. */
  readonly scores: Node;
  /** Which operand of it are the queries, and which the keys. */
  readonly queryIndex: number;
  readonly keyIndex: number;
  readonly softmax: Node;
  /** The product of probabilities and values, and what it reads. */
  readonly product: Node;
  readonly probabilities: Value;
  /** Who reads them: the product, and whoever wants the attention map. */
  readonly readers: readonly Use[];
  readonly values: Value;
  readonly output: Value;
  /** How the product differs from MatMul of [.., S, T] and [.., T, E]; undefined where it does not. */
  readonly arrangement: Arrangement | undefined;
  /** Layout of the probabilities as [.., S, T]: view of the columns of the query projection, keys on the last axis; or where it was lost. */
  readonly probabilitiesView: View | LostView;
  /**
   * Where the map weighs several things: what flows in between `probabilities` and `output`, the value in which they are
   * put together. `product` is the first of them. Heads and queries stand in `output` where they stand in `probabilities`
   * if it is aligned.
   */
  readonly joined: { readonly operands: readonly Value[]; readonly aligned: boolean } | undefined;
  /** Scale and bias, where the scores are nothing but scale * Q * K^T + bias with Q and K of rank 4. */
  readonly plain: PlainScores | undefined;
}

export interface PlainScores {
  /** The Mul or Div by a scalar behind the product, if any. */
  readonly scale: { readonly operator: 'Mul' | 'Div'; readonly value: Value } | undefined;
  /** The term that is added before the softmax, if any. */
  readonly bias: Value | undefined;
}

/** Attention as one operator. */
export interface OperatorCore {
  readonly kind: 'operator';
  readonly node: Node;
  /** Which inputs hold queries, keys and values; all the same where one input is projected inside the operator. */
  readonly queryIndex: number;
  readonly keyIndex: number;
  readonly valueIndex: number;
  readonly values: Value;
  readonly output: Value;
  /** True where values and output have heads and widths on one axis, [B, S, H * E]; false for [B, H, S, E]. */
  readonly merged: boolean;
  /** Input that holds the biases [q | k | v], which the operator adds. */
  readonly biasIndex: number | undefined;
  /** Input that holds the weights [in, q | k | v], where the operator projects. */
  readonly weightIndex: number | undefined;
  /** The caches that the operator joins by itself: [B, G, T, width], inputs and outputs by index. */
  readonly cache: OperatorCache | undefined;
}

export interface OperatorCache {
  readonly pastKey: number;
  readonly pastValue: number;
  readonly presentKey: number;
}

export interface SiteTraits {
  readonly scale: string;
  readonly mask: string;
  readonly positions: string;
  readonly cache: string;
}
