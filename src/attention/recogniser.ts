import type { Candidate } from '../analyse';
import type { Analysis } from '../match/context';
import type { AttentionSite } from './site';

/** Turns one kind of candidate into an attention site. */
export interface Recogniser {
  readonly name: string;
  /** True for candidates that this recogniser is meant for. */
  accepts(candidate: Candidate): boolean;
  /** Describes the attention; ends with `fail` (src/match/outcome.ts) where it is not what it should be. */
  recognise(candidate: Candidate, analysis: Analysis): AttentionSite;
}
