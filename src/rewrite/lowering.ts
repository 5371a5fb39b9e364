import type { LocatedSite } from '../attention/find';
import type { RewriteSession } from './session';

/** Rewrites one kind of attention site in one head mode. */
export interface Lowering {
  readonly name: string;
  /** True if the lowering writes this site under the options of the session. */
  accepts(site: LocatedSite, session: RewriteSession): boolean;
  /** Rewrites the site. Ends with `fail` (src/match/outcome.ts) where that is not possible. */
  lower(site: LocatedSite, session: RewriteSession): void;
}
