import type { Candidate } from '../analyse';
import type { Model } from '../ir';
import { Analysis } from '../match/context';
import { attempt, fail, type Reason } from '../match/outcome';
import { reachProjections } from '../match/reach';
import { attentionPath, compareNumbers, nearbyLayer, pathKind, pathNumbers } from './path';
import type { Recogniser } from './recogniser';
import { type AttentionSite, type Branch, branchesOf, isProjected, projectedSides } from './site';

/** An attention with its place in the model. */
export interface LocatedSite extends AttentionSite {
  /** Module path, unique for each set of weights. */
  readonly path: string;
  /** False where the model says nothing of the path: it is made up, from names nearby if there are any. */
  readonly named: boolean;
  /** Depth l of SPEC section 1: rank among the attentions of its kind. */
  readonly depth: number;
  /** Other attentions with the same path run the same weights again. */
  readonly shared: boolean;
  /**
   * Where the parameters of the second projections are named. What shares its weight shares the second one: keys of
   * several layers, or queries and keys of one.
   */
  readonly names: ReadonlyMap<Branch, ParameterName>;
}

/** The attention path of a parameter, and what its name behind that begins with. */
export interface ParameterName {
  readonly path: string;
  /** `q2_proj`, `k2_proj`; `q2_proj.1` and so on for the further projections of a side. */
  readonly name: string;
}

/** A candidate that no recogniser understood. */
export interface Miss {
  readonly candidate: Candidate;
  /** The recogniser that came nearest. */
  readonly recogniser: string | undefined;
  readonly reason: Reason;
}

export interface Found {
  readonly analysis: Analysis;
  /** In the order of depth within each kind, kinds in the order of the data. */
  readonly sites: readonly LocatedSite[];
  readonly misses: readonly Miss[];
}

/** Finds every attention of a model. */
export function findAttention(model: Model, recognisers: readonly Recogniser[]): Found {
  const analysis = new Analysis(model);
  const sites: AttentionSite[] = [];
  const misses: Miss[] = [];
  for (const candidate of analysis.candidates) {
    const recogniser = recognisers.find((each) => each.accepts(candidate));
    if (!recogniser) {
      const { anchor } = candidate;
      const reason: Reason = {
        code: 'no-recogniser',
        node: anchor,
        wanted: 'a known form of attention',
        found: anchor.operator,
      };
      misses.push({ candidate, recogniser: undefined, reason });
      continue;
    }
    const outcome = attempt(() => ofPossibleWidth(recogniser.recognise(candidate, analysis.for(candidate))));
    if (outcome.matched) sites.push(outcome.value);
    else misses.push({ candidate, recogniser: recogniser.name, reason: outcome.reason });
  }
  return { analysis, sites: locate(sites, analysis), misses };
}

/** Heads wider than this are a size that an input was declared with by mistake. */
const LARGEST_WIDTH = 1 << 20;

function ofPossibleWidth(site: AttentionSite): AttentionSite {
  const width = [site.headWidth, site.valueWidth].find((each) => !(each > 0 && each <= LARGEST_WIDTH));
  if (width !== undefined)
    fail('heads-unknown', site.anchor, `heads of width 1 to ${LARGEST_WIDTH}`, `width ${width}`);
  return site;
}

/** What tells one set of attention weights from another: the stored query and key weights. */
function weightKey(site: AttentionSite): string {
  return projectedSides(site).map(sideKey).join('|');
}

function sideKey(side: AttentionSite['query']): string {
  return branchesOf(side).map(branchKey).join('+');
}

/** The stored weight and bias of a projection, and the columns of them. */
function branchKey({ projection, columns }: Branch): string {
  const { tensor, holder, layout, bias } = projection;
  const stored = `${tensor.name ?? ''}|${holder.name}|${bias?.holder.name ?? ''}`;
  return `${stored}@${layout.offset}:${columns.join()}`;
}

/**
 * Attentions whose keys are fed are told by their queries: where another branch of the model projects the keys, it is the
 * same attention.
 */
function weightKeys(sites: readonly AttentionSite[]): string[] {
  const projected = new Map<string, string>();
  for (const site of sites) if (isProjected(site.key)) projected.set(sideKey(site.query), weightKey(site));
  return sites.map(
    (site) => projected.get(isProjected(site.key) ? '' : sideKey(site.query)) ?? weightKey(site),
  );
}

/**
 * One set of query and key weights may attend for several sets of values (text and layout, say): each is an attention of
 * its own. Values that are fed are taken for those that another branch of the model projects.
 */
function withValues(
  weights: readonly string[],
  sites: readonly AttentionSite[],
  { dataflow, shapes }: Analysis,
): string[] {
  /** The number of each set of values, by the weights that attend for it. */
  const known = new Map<string, Map<string, number>>();
  return sites.map((site, index) => {
    const key = weights[index] ?? '';
    const reached = attempt(() => reachProjections(site.core.values, dataflow, shapes).projections);
    const layers = reached.matched ? reached.value : [];
    const values = layers.map(({ tensor, holder }) => `${tensor.name ?? ''}|${holder.name}`).join('+');
    const seen = known.get(key) ?? new Map<string, number>();
    known.set(key, seen);
    if (values !== '' && !seen.has(values)) seen.set(values, seen.size);
    const which = seen.get(values) ?? 0;
    return which === 0 ? key : `${key}#${which}`;
  });
}

function locate(sites: readonly AttentionSite[], analysis: Analysis): LocatedSite[] {
  const pathByWeights = new Map<string, string>();
  const taken = new Map<string, number>();
  const uses = new Map<string, number>();
  const read = new Map(sites.map((site) => [site, attentionPath(site)]));
  const guessed = guessPaths(sites.filter((site) => read.get(site) === undefined));
  const keys = withValues(weightKeys(sites), sites, analysis);
  const named = sites.map((site, index) => {
    const weights = keys[index] ?? '';
    let path = pathByWeights.get(weights);
    if (path === undefined) {
      path = uniquePath(read.get(site) ?? guessed.get(site) ?? `attention.${pathByWeights.size}`, taken);
      pathByWeights.set(weights, path);
    }
    uses.set(path, (uses.get(path) ?? 0) + 1);
    return { site, path };
  });
  const kinds = groupByKind([...pathByWeights.values()]);
  const rank = new Map<string, { kind: number; depth: number }>();
  kinds.forEach((paths, kind) => {
    paths.forEach((path, depth) => {
      rank.set(path, { kind, depth });
    });
  });
  const located = named.map(
    ({ site, path }): Omit<LocatedSite, 'names'> => ({
      ...site,
      path,
      named: read.get(site) === path,
      depth: rank.get(path)?.depth ?? 0,
      shared: (uses.get(path) ?? 0) > 1,
    }),
  );
  const order = ({ path }: { path: string }) => rank.get(path)?.kind ?? 0;
  return nameProjections(located.sort((a, b) => order(a) - order(b) || a.depth - b.depth));
}

/** Weights that several attentions or sides share are named by the first of them, in the order of depth. */
function nameProjections(sites: readonly Omit<LocatedSite, 'names'>[]): LocatedSite[] {
  const owners = new Map<string, ParameterName>();
  return sites.map((site) => {
    const names = new Map<Branch, ParameterName>();
    for (const side of projectedSides(site)) {
      const prefix = side === site.query ? 'q2_proj' : 'k2_proj';
      branchesOf(side).forEach((branch, index) => {
        const own = { path: site.path, name: index === 0 ? prefix : `${prefix}.${index}` };
        const key = branchKey(branch);
        const name = owners.get(key) ?? own;
        owners.set(key, name);
        names.set(branch, name);
      });
    }
    return { ...site, names };
  });
}

/**
 * Paths from the names around, for attentions whose own are lost: behind them, or before them where that does not tell
 * them apart (layers whose norm stands in front, run in parallel with the feed-forward part).
 */
function guessPaths(sites: readonly AttentionSite[]): Map<AttentionSite, string> {
  for (const direction of ['behind', 'before'] as const) {
    const layers = sites.map((site) =>
      nearbyLayer(direction === 'behind' ? site.core.output : site.query.projection.input, direction),
    );
    const known = layers.filter((layer) => layer !== undefined);
    if (known.length === sites.length && new Set(known).size === sites.length) {
      return new Map(sites.map((site, index) => [site, `${layers[index]}.attention`]));
    }
  }
  return new Map();
}

/** @param taken paths, and the last number that was given to each */
function uniquePath(wish: string, taken: Map<string, number>): string {
  let n = taken.get(wish);
  let path = wish;
  while (taken.has(path)) {
    n = (n ?? 0) + 1;
    path = `${wish}.attention${n}`;
  }
  if (n !== undefined) taken.set(wish, n);
  taken.set(path, 0);
  return path;
}

/** Paths that differ in their numbers alone, ordered by those numbers. */
function groupByKind(paths: readonly string[]): string[][] {
  const kinds = new Map<string, string[]>();
  for (const path of paths) {
    const kind = pathKind(path);
    const known = kinds.get(kind);
    if (known) known.push(path);
    else kinds.set(kind, [path]);
  }
  for (const group of kinds.values()) group.sort((a, b) => compareNumbers(pathNumbers(a), pathNumbers(b)));
  return [...kinds.values()];
}
