import type { Model, Node, Value } from '../ir';
import type { Dim } from './dim';

/** What is known of a value before the model runs. */
export interface Fact {
  /** Dimensions; undefined where the rank is not known. */
  readonly shape?: readonly Dim[] | undefined;
  /** The elements, for integer scalars and vectors of shape arithmetic. A scalar is one element. */
  readonly elements?: readonly Dim[] | undefined;
}

export const NOTHING: Fact = {};

/** What a rule may ask when it derives the facts of a node's outputs. */
export interface RuleContext {
  readonly model: Model;
  readonly node: Node;
  fact(value: Value | undefined): Fact;
  /** Shape of an input. */
  shape(index: number): readonly Dim[] | undefined;
  /** Elements of an input, see `Fact`. */
  elements(index: number): readonly Dim[] | undefined;
  /** Elements of an input where all are plain numbers; attributes of older opsets are looked up under `attribute`. */
  numbers(index: number, attribute?: string): number[] | undefined;
}

/** Derives the facts of all outputs of a node. */
export type Rule = (context: RuleContext) => readonly Fact[];

/** The axis counted from the front. */
export function frontAxis(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}
