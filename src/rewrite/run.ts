import type { Found, LocatedSite, Miss } from '../attention/find';
import { numberLayers, pickEvenly } from '../attention/monitored';
import type { RewrittenLayer } from '../attention/record';
import { errors } from '../errors';
import { checkInvariants, type Model } from '../ir';
import { attempt, type Reason } from '../match/outcome';
import { KeyIndex } from '../weights/match-names';
import type { Safetensors } from '../weights/safetensors';
import { refuseDifferential } from './already-differential';
import { completeBranches } from './branch-caches';
import { erasedLayers } from './erased-weights';
import { halveShownMaps } from './halved-maps';
import { type LoadReport, loadWeights } from './load-weights';
import type { Lowering } from './lowering';
import { stampMetadata } from './metadata';
import { addMonitoring, type Monitoring } from './monitor';
import type { RewriteOptions } from './options';
import { findPrepared, type Preparation } from './prepare';
import { separateWeights } from './separate-weights';
import { RewriteSession } from './session';

/** The passes that a rewrite runs. */
export interface Passes extends Preparation {
  readonly lowerings: readonly Lowering[];
  /** Clean-ups: prepared before the first lowering, run after the last. */
  readonly cleanups: readonly Cleanup[];
}

export interface Cleanup {
  readonly name: string;
  /** Looks at the model before anything is rewritten; what it gives is run afterwards. */
  prepare(model: Model): () => void;
}

export interface RunInputs {
  readonly checkpoint?: Safetensors | undefined;
  /** Refuse a checkpoint that lacks new parameters, or has keys that belong nowhere. Default false. */
  readonly strictWeights?: boolean | undefined;
  /** SHA-256 of the source file, for the metadata; computed when it is needed. */
  readonly sourceHash: () => string;
  readonly version: string;
  /** Called after each pass, for `--dump-after`. */
  readonly afterPass?: ((pass: string, model: Model) => void) | undefined;
}

/** What a rewrite did. */
export interface RunResult extends Monitoring {
  readonly found: Found;
  readonly layers: readonly RewrittenLayer[];
  /** Candidates that were left as they are, by permission. */
  readonly left: readonly Miss[];
  /** Attentions that `--layers` did not choose. */
  readonly notChosen: readonly LocatedSite[];
  readonly weights: LoadReport | undefined;
}

/** Oldest operator set whose Softmax and ReduceSum mean what diffx writes. */
const OLDEST_OPSET = 13;

/**
 * Rewrites a model in memory. The whole rewrite is one transaction: when anything throws, the model is as it was.
 * @throws DiffxError no-attention, unrewritten, already-differential, opset-too-old, odd-heads, and those of weights
 */
export function runRewrite(
  model: Model,
  passes: Passes,
  options: RewriteOptions,
  inputs: RunInputs,
): RunResult {
  const { path } = model.file;
  refuseDifferential(model);
  if (model.opset < OLDEST_OPSET) throw errors.opsetTooOld(path, model.opset);
  return model.journal.transaction(() => {
    const separated = inputs.checkpoint
      ? separateWeights(model, inputs.checkpoint, new KeyIndex(inputs.checkpoint.names))
      : {};
    const found = findPrepared(model, passes);
    if (found.analysis.candidates.length === 0) throw errors.noAttention(path);
    refuseDifferential(model);
    const chosen = choose(found, options, path);
    const picked = new Set(chosen);
    if (options.heads === 'split') refuseOddHeads(chosen);
    const before = new Set(checkInvariants(model).map(({ message }) => message));
    // What had nothing to do is not looked at: in a large model that takes as long as what was done.
    const checkpoint = (pass: string, idle = false) => {
      const broken = idle ? [] : checkInvariants(model).filter(({ message }) => !before.has(message));
      if (broken.length > 0)
        throw errors.brokenGraph(
          pass,
          broken.map(({ message }) => message),
        );
      inputs.afterPass?.(pass, model);
    };
    const cleanups = passes.cleanups.map((cleanup) => ({ name: cleanup.name, run: cleanup.prepare(model) }));
    const erased = inputs.checkpoint ? erasedLayers(chosen, found.analysis) : new Map();
    const session = new RewriteSession(model, found, chosen, options);
    const misses = [...found.misses, ...lowerAll(session, passes.lowerings)];
    const permitted = options.allowPartial || options.layers !== undefined;
    if (misses.length > 0 && (!permitted || session.layers.length === 0))
      throw unrewritten(path, found, misses);
    completeBranches(session);
    completeShownMaps(session, path);
    session.defineFunctions();
    checkpoint('lower');
    const monitored = pickEvenly(numberLayers(session.layers), options.monitorLayers ?? 0);
    const monitoring = addMonitoring(model, monitored);
    checkpoint('monitor');
    for (const cleanup of cleanups) {
      cleanup.run();
      checkpoint(cleanup.name);
    }
    const weights =
      inputs.checkpoint && loadWeights(session, inputs.checkpoint, inputs.checkpoint.path, erased);
    if (weights && inputs.strictWeights) refuseLoose(weights, inputs.checkpoint?.path ?? '');
    stampMetadata(session, inputs, weights, separated, monitoring);
    checkpoint('finish', weights === undefined);
    return {
      found,
      layers: session.layers,
      left: misses,
      notChosen: found.sites.filter((site) => !picked.has(site)),
      weights,
      ...monitoring,
    };
  });
}

function refuseLoose({ initialised, unused }: LoadReport, path: string): void {
  if (initialised.length + unused.length > 0) throw errors.looseWeights(path, initialised, unused);
}

function choose(found: Found, { layers }: RewriteOptions, path: string): LocatedSite[] {
  if (!layers) return [...found.sites];
  const count = found.sites.reduce((most, { depth }) => Math.max(most, depth + 1), 0);
  const missing = layers.named.find((depth) => depth >= count);
  if (missing !== undefined && found.misses.length === 0)
    throw errors.noSuchLayer(layers.text, missing, count);
  const chosen = found.sites.filter(({ depth }) => layers.includes(depth));
  if (chosen.length === 0) throw unrewritten(path, found, found.misses);
  return chosen;
}

function refuseOddHeads(sites: readonly LocatedSite[]): void {
  const odd = sites.find(({ heads, kvHeads }) => heads % 2 === 1 || kvHeads % 2 === 1);
  if (odd) throw errors.oddHeads(odd.path, odd.heads, odd.kvHeads);
}

/** @throws unrewritten where the heads of a map that is shown cannot be halved: by now nothing can be left as it was */
function completeShownMaps({ halvedMaps, found }: RewriteSession, path: string): void {
  const outcome = attempt(() => halveShownMaps(halvedMaps, found.analysis.shapes));
  const [first] = halvedMaps;
  const candidate = found.analysis.candidates.find(({ anchor }) => anchor === first?.site.anchor);
  if (outcome.matched || !first || !candidate) return;
  throw unrewritten(path, found, [{ candidate, recogniser: first.site.recogniser, reason: outcome.reason }]);
}

/** Lowers every site in a transaction of its own; gives those that could not be. */
function lowerAll(session: RewriteSession, lowerings: readonly Lowering[]): Miss[] {
  const misses: Miss[] = [];
  const byAnchor = new Map(session.found.analysis.candidates.map((each) => [each.anchor, each]));
  for (const site of session.sites) {
    const lowering = lowerings.find((each) => each.accepts(site, session));
    const reason: Reason | undefined = lowering
      ? tryLowering(site, lowering, session)
      : { code: 'no-recogniser', node: site.anchor, wanted: 'a lowering for these options', found: 'none' };
    const candidate = byAnchor.get(site.anchor);
    if (reason && candidate) misses.push({ candidate, recogniser: site.recogniser, reason });
  }
  return misses;
}

function tryLowering(site: LocatedSite, lowering: Lowering, session: RewriteSession): Reason | undefined {
  const outcome = attempt(() => session.model.journal.transaction(() => lowering.lower(site, session)));
  return outcome.matched ? undefined : outcome.reason;
}

function unrewritten(path: string, found: Found, misses: readonly Miss[]): Error {
  const lines = misses.map(({ candidate, reason }) => {
    const where = reason.node === candidate.anchor ? '' : ` at '${reason.node.label}'`;
    return `'${candidate.anchor.label}': ${reason.code}${where}: wanted ${reason.wanted}, found ${reason.found}`;
  });
  const shown = lines.length > 3 ? [...lines.slice(0, 3), `and ${lines.length - 3} more`] : lines;
  const reasons = misses.map(({ reason }) => reason.code);
  return errors.unrewritten(path, reasons, found.analysis.candidates.length, shown);
}
