import type { LocatedSite, ParameterName } from './find';
import { type HeadMode, isDoubled, type PresetName } from './presets';
import { type Branch, branchesOf, isProjected, type Side } from './site';

/** A projection that gets a second one, and what the names of the new parameters begin with. */
export interface SecondProjection extends ParameterName {
  readonly branch: Branch;
}

/** The second projections that a rewrite adds to an attention; none for keys that are fed. */
export function secondProjections(
  { query, key, names }: Pick<LocatedSite, 'query' | 'key' | 'names'>,
  options: { readonly preset: PresetName; readonly heads: HeadMode },
): SecondProjection[] {
  const second: SecondProjection[] = [];
  const ofSide = (side: Side) =>
    branchesOf(side).flatMap((branch) => {
      const name = names.get(branch);
      return name ? [{ ...name, branch }] : [];
    });
  if (isDoubled(options, 'query')) second.push(...ofSide(query));
  if (isDoubled(options, 'key') && isProjected(key)) second.push(...ofSide(key));
  return second;
}
