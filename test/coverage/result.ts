/** What was measured of one export, as plain data. */

export const MODES = ['zero', 'preserve', 'split'] as const;
/** Duplicate heads with `zero` init and no norm, with `preserve`; split heads with random values. */
export type Mode = (typeof MODES)[number];

export type Outcome =
  /** Rewritten completely, and what it computes is right. */
  | 'verified'
  /** Not rewritten, and the model is untouched; the reason is in `code`. */
  | 'refused'
  /** Rewritten, and what it computes is not right. */
  | 'wrong'
  /** An internal error, or a rewritten model that ONNX Runtime refuses. */
  | 'broken';

export interface ModeResult {
  readonly outcome: Outcome;
  /** Attentions that were rewritten. */
  readonly rewritten: number;
  /** Of a refusal: why. Several codes where several attentions are left, sorted. */
  readonly code?: string;
  /** Largest difference from what the outputs should be. */
  readonly error?: number;
  /** What else there is to say, in one line. */
  readonly detail?: string;
}

export interface ReferenceResult {
  /** `mirror-nonorm`, `split-nonorm`, `split-norm`. */
  readonly kind: string;
  readonly passed: boolean;
  readonly error?: number;
  readonly detail?: string;
}

export interface ExportResult {
  readonly name: string;
  /** What looks like attention, counted by code that knows nothing of the recognisers. */
  readonly candidates: number;
  /** Of these, understood. */
  readonly found: number;
  /** Calls of attention in the model that was exported, where the recipe has counted them. */
  readonly calls?: number;
  /** Set where the model itself cannot be read or run: nothing was measured. */
  readonly unusable?: string;
  readonly modes: Readonly<Record<Mode, ModeResult>>;
  /** Equality with results of PyTorch, where there are any for this architecture. */
  readonly references: readonly ReferenceResult[];
}
