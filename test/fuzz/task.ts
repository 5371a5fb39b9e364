/** What the fuzzer asks its worker process, and what that answers. */
import type { Kind } from './mutate';
import type { Verdict } from './verdict';

/** A mutant to make and to judge, or a file to judge. */
export type Task = {
  /** For the mutant and for the phase. */
  readonly folder: string;
  /** Picks the mode beside `preserve`. */
  readonly turn: number;
} & (
  | { readonly file: string }
  | { readonly base: string; readonly other: string; readonly seed: number; readonly only?: Kind }
);

export interface Answer {
  readonly verdict: Verdict;
  readonly kind?: Kind;
  readonly mutations?: readonly string[];
}

/** Files in the folder of a task. */
export const MUTANT = 'mutant.onnx';
export const PHASE = 'phase';
export const MADE = 'made.json';
