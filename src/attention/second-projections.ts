import { type HeadMode, isDoubled, type PresetName } from './presets';
import { type AttentionSite, type Branch, branchesOf, isProjected, type Side } from './site';

/** A projection that gets a second one, and what the names of the new parameters begin with. */
export interface SecondProjection {
  /** `q2_proj`; `q2_proj.1` and so on for the further projections of a side. */
  readonly name: string;
  readonly branch: Branch;
}

/** The second projections that a rewrite adds to an attention; none for keys that are fed. */
export function secondProjections(
  { query, key }: Pick<AttentionSite, 'query' | 'key'>,
  options: { readonly preset: PresetName; readonly heads: HeadMode },
): SecondProjection[] {
  const second: SecondProjection[] = [];
  if (isDoubled(options, 'query')) second.push(...ofSide('q2_proj', query));
  if (isDoubled(options, 'key') && isProjected(key)) second.push(...ofSide('k2_proj', key));
  return second;
}

function ofSide(name: string, side: Side): SecondProjection[] {
  return branchesOf(side).map((branch, index) => ({ name: index === 0 ? name : `${name}.${index}`, branch }));
}
