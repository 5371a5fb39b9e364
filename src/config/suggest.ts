import { distance } from 'fastest-levenshtein';

/** More letters than this have to change: another word, not a misspelt one. */
const MOST_CHANGES = 2;

/** `splitHeads`, `split-heads` and `Split_Heads` are all `split_heads`. */
function plain(key: string): string {
  return key
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .replaceAll('-', '_')
    .toLowerCase();
}

/** The known key that an unknown one is a misspelling of; undefined where it is none. */
export function misspelt(key: string, known: readonly string[]): string | undefined {
  const given = plain(key);
  const [best] = known
    .map((name) => ({ name, changes: distance(given, name) }))
    .sort((a, b) => a.changes - b.changes);
  if (best !== undefined && best.changes <= MOST_CHANGES) return best.name;
  // `diff_attn_warmup`, which is cut off: only where one key alone begins so.
  const [start, ...others] = known.filter((name) => name.startsWith(`${given}_`));
  return others.length === 0 && given.includes('_') ? start : undefined;
}
