import type { Candidate } from '../analyse';
import { constantSource } from '../analyse';
import type { Model } from '../ir';
import { Analysis } from '../match/context';
import { attempt, type Reason } from '../match/outcome';
import { attentionPath, nearbyLayer, pathKind, pathNumbers } from './path';
import type { Recogniser } from './recogniser';
import { type AttentionSite, isProjected, projectedSides } from './site';

/** An attention with its place in the model. */
export interface LocatedSite extends AttentionSite {
  /** Module path, unique for each set of weights. */
  readonly path: string;
  /** Depth l of SPEC section 1: rank among the attentions of its kind. */
  readonly depth: number;
  /** Other attentions with the same path run the same weights again. */
  readonly shared: boolean;
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
    const outcome = attempt(() => recogniser.recognise(candidate, analysis.for(candidate)));
    if (outcome.matched) sites.push(outcome.value);
    else misses.push({ candidate, recogniser: recogniser.name, reason: outcome.reason });
  }
  return { analysis, sites: locate(sites), misses };
}

/** What tells one set of attention weights from another: the stored query and key weights. */
function weightKey(site: AttentionSite): string {
  return projectedSides(site).map(sideKey).join('|');
}

function sideKey({ projection, columns }: AttentionSite['query']): string {
  const side = `${projection.tensor.name ?? ''}@${columns[0] ?? 0}`;
  return `${side}|${constantSource(projection.weight).name || side}`;
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

function locate(sites: readonly AttentionSite[]): LocatedSite[] {
  const pathByWeights = new Map<string, string>();
  const taken = new Set<string>();
  const uses = new Map<string, number>();
  const guessed = guessPaths(sites.filter((site) => attentionPath(site) === undefined));
  const keys = weightKeys(sites);
  const named = sites.map((site, index) => {
    const weights = keys[index] ?? '';
    let path = pathByWeights.get(weights);
    if (path === undefined) {
      path = uniquePath(attentionPath(site) ?? guessed.get(site) ?? `attention.${pathByWeights.size}`, taken);
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
    ({ site, path }): LocatedSite => ({
      ...site,
      path,
      depth: rank.get(path)?.depth ?? 0,
      shared: (uses.get(path) ?? 0) > 1,
    }),
  );
  const order = (site: LocatedSite) => rank.get(site.path)?.kind ?? 0;
  return located.sort((a, b) => order(a) - order(b) || a.depth - b.depth);
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

function uniquePath(wish: string, taken: Set<string>): string {
  let path = wish;
  for (let n = 1; taken.has(path); n++) path = `${wish}.attention${n}`;
  taken.add(path);
  return path;
}

/** Paths that differ in their numbers alone, ordered by those numbers. */
function groupByKind(paths: readonly string[]): string[][] {
  const kinds = new Map<string, string[]>();
  for (const path of paths) {
    const kind = pathKind(path);
    kinds.set(kind, [...(kinds.get(kind) ?? []), path]);
  }
  for (const group of kinds.values()) group.sort((a, b) => compareNumbers(pathNumbers(a), pathNumbers(b)));
  return [...kinds.values()];
}

function compareNumbers(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? -1) - (b[i] ?? -1);
    if (difference !== 0) return difference;
  }
  return 0;
}
