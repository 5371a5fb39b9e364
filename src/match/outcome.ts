import type { Node } from '../ir';

/** Why something is not what a recogniser was looking for. */
export interface Reason {
  /** Stable and kebab-case, for scripts. */
  readonly code: ReasonCode;
  /** The node of the user's model where it showed. */
  readonly node: Node;
  readonly wanted: string;
  readonly found: string;
}

export type ReasonCode =
  | 'softmax-axis'
  | 'several-softmaxes'
  | 'no-value-product'
  | 'several-value-products'
  | 'probabilities-escape'
  | 'no-score-product'
  | 'several-score-products'
  | 'no-projection'
  | 'several-projections'
  | 'weight-not-constant'
  | 'projection-form'
  | 'layout-lost'
  | 'columns-mixed'
  | 'heads-unknown'
  | 'heads-do-not-divide'
  | 'scores-depend-elsewhere'
  | 'cache'
  | 'control-flow'
  | 'operator-form'
  | 'too-large'
  | 'no-recogniser';

export type Outcome<T> =
  | { readonly matched: true; readonly value: T }
  | { readonly matched: false; readonly reason: Reason };

/** The outcome of a match. */
export function matched<T>(value: T): Outcome<T> {
  return { matched: true, value };
}

/** The outcome of no match. */
export function failed(code: ReasonCode, node: Node, wanted: string, found: string): Outcome<never> {
  return { matched: false, reason: { code, node, wanted, found } };
}

/** Thrown inside a recogniser, caught by `attempt`: a failed match is a value for everyone outside. */
class MatchFailure extends Error {
  constructor(readonly reason: Reason) {
    super(reason.code);
  }
}

/** Ends the attempt around with a reason. */
export function fail(code: ReasonCode, node: Node, wanted: string, found: string): never {
  throw new MatchFailure({ code, node, wanted, found });
}

/** Ends the attempt around with the reason of another one. */
export function refuse(reason: Reason): never {
  throw new MatchFailure(reason);
}

/** Runs a recogniser and turns `fail` into an outcome. */
export function attempt<T>(recognise: () => T): Outcome<T> {
  try {
    return matched(recognise());
  } catch (error) {
    if (error instanceof MatchFailure) return { matched: false, reason: error.reason };
    throw error;
  }
}
