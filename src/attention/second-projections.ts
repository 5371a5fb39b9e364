import { type HeadMode, isDoubled, type PresetName } from './presets';
import { type AttentionSite, isProjected, type Side } from './site';

/** A side of an attention that gets a second projection, and what the names of its parameters begin with. */
export interface SecondProjection {
  readonly name: 'q2_proj' | 'k2_proj';
  readonly side: Side;
}

/** The second projections that a rewrite adds to an attention; none for keys that are fed. */
export function secondProjections(
  { query, key }: Pick<AttentionSite, 'query' | 'key'>,
  options: { readonly preset: PresetName; readonly heads: HeadMode },
): SecondProjection[] {
  const second: SecondProjection[] = [];
  if (isDoubled(options, 'query')) second.push({ name: 'q2_proj', side: query });
  if (isDoubled(options, 'key') && isProjected(key)) second.push({ name: 'k2_proj', side: key });
  return second;
}
