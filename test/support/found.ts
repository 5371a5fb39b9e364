/** What a search for attention found, in plain words: graphs are too large to stand in the message of a failed test. */
import type { Found, LocatedSite, Miss } from '../../src/attention/find';

export interface FoundInWords {
  readonly sites: readonly string[];
  readonly misses: readonly string[];
}

/** `layers.0.attn: 4/2 x 8`, and 4 more behind it where values are of another width. */
export function siteInWords({ path, heads, kvHeads, headWidth, valueWidth }: LocatedSite): string {
  return `${path}: ${heads}/${kvHeads} x ${headWidth}${valueWidth === headWidth ? '' : `, ${valueWidth}`}`;
}

/** `softmax-axis at softmax: axis 2 of 4 axes` */
export function missInWords({ reason: { code, node, found } }: Miss): string {
  return `${code} at ${node.name}: ${found}`;
}

export function inWords({ sites, misses }: Pick<Found, 'sites' | 'misses'>): FoundInWords {
  return { sites: sites.map(siteInWords), misses: misses.map(missInWords) };
}
