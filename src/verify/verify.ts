import type { LocatedSite } from '../attention/find';
import type { RewriteRecord } from '../attention/record';
import type { Model } from '../ir';
import type { ByteRange } from '../onnx';
import { type CaseRun, type CaseSettings, runOriginal } from './case-runs';
import { checkParameters } from './check-parameters';
import { checkRecord } from './check-record';
import { compareAttended, compareFunction, compareLayers, compareMirrored } from './layer-checks';
import { type LayerUnderTest, neededValues } from './layer-reference';
import { mirror } from './mirror';
import { neutralise } from './neutralise';
import { type Check, CheckBuilder, type VerifyReport } from './report';
import { type Session, withSession } from './session';
import { checkStructure } from './structure';
import type { Tensor } from './tensor';
import { expose, makeVariant } from './variants';

export interface VerifySettings extends CaseSettings {
  /** Execution provider. Default cpu. */
  readonly provider?: string;
}

/** A rewritten model beside its original, as far as verification needs to know them. */
export interface Pair {
  readonly original: Model;
  readonly rewritten: Model;
  readonly record: RewriteRecord;
  /** Attentions of the original. */
  readonly sites: readonly LocatedSite[];
  /** True if the options keep the function. */
  readonly keepsFunction: boolean;
  /** Bytes that the new parameters must have under the recorded options, by name. */
  readonly expectedParameters: ReadonlyMap<string, ByteRange>;
}

/**
 * Proves a rewrite: structure and parameters without running it, then layer by layer against the float64 reference,
 * neutralised and mirrored, and where the options keep the function, output by output against the original.
 * @throws DiffxError runtime-refused, provider-unavailable, feed-mismatch
 */
export async function verifyPair(pair: Pair, settings: VerifySettings = {}): Promise<VerifyReport> {
  const { original, rewritten, record, sites } = pair;
  const chosen = sites.filter((site) =>
    record.layers.some((layer) => layer.output === site.core.output.name),
  );
  const still: Check[] = [
    checkRecord(original, record, sites),
    checkStructure(original, rewritten, record, chosen),
    checkParameters(rewritten, record, pair.expectedParameters),
  ];
  const notVerified = sites
    .filter((site) => !chosen.includes(site))
    .map((site) => `${site.path}: not rewritten, so only compared byte for byte`);
  const run = runnable(still)
    ? await new Runner(pair, chosen, settings, notVerified).run()
    : { checks: [], cases: [] };
  if (!runnable(still))
    notVerified.push('neither model was run: the rewritten one is not made from the original');
  const checks = [...still, ...run.checks];
  return {
    passed: checks.every(({ passed }) => passed),
    original: original.file.path,
    rewritten: rewritten.file.path,
    provider: settings.provider ?? 'cpu',
    keepsFunction: pair.keepsFunction,
    checks,
    firstDivergingLayer: firstLayer(checks, chosen),
    notVerified,
    cases: run.cases,
  };
}

/** Layers can be compared as long as the record is true; what else is wrong may still be named by layer. */
function runnable(checks: readonly Check[]): boolean {
  return checks.every(({ name, passed }) => name !== 'record' || passed);
}

/** The first attention in the order of the data that any check complains about. */
function firstLayer(checks: readonly Check[], sites: readonly LocatedSite[]): string | undefined {
  const named = new Set(checks.flatMap(({ findings }) => findings.map(({ layer }) => layer)));
  const order = sites.map((site) => ({ path: site.path, at: site.scope.nodes.indexOf(site.anchor) }));
  return order.sort((a, b) => a.at - b.at).find(({ path }) => named.has(path))?.path;
}

/** Runs the original, the rewritten model and changed copies of it over the same cases. */
class Runner {
  readonly #layers: readonly LayerUnderTest[];

  constructor(
    readonly pair: Pair,
    readonly sites: readonly LocatedSite[],
    readonly settings: VerifySettings,
    readonly notVerified: string[],
  ) {
    const { record, rewritten } = pair;
    this.#layers = record.layers.flatMap((layer) => {
      const site = sites.find(({ core }) => core.output.name === layer.output);
      return site ? [{ layer, site, options: record.options, rewritten, mix: 1 }] : [];
    });
  }

  async run(): Promise<{ checks: Check[]; cases: string[] }> {
    const { original, record } = this.pair;
    const runs = await this.#with(
      original,
      () => undefined,
      (session) => runOriginal(original, session, this.settings, this.notVerified),
    );
    const checks = [await this.#checkLayers(runs)];
    if (record.options.heads === 'duplicate') {
      checks.push(await this.#checkNeutralised(runs), await this.#checkMirrored(runs));
    }
    if (this.pair.keepsFunction) checks.push(await this.#checkFunction(runs));
    return { checks, cases: runs.map(({ where }) => where) };
  }

  /** Loads a changed copy of a model for as long as `use` needs it. */
  async #with<T>(of: Model, edit: (model: Model) => void, use: (session: Session) => Promise<T>): Promise<T> {
    const variant = makeVariant(of.file, edit);
    const { provider } = this.settings;
    try {
      return await withSession(variant.model, { name: of.file.path, ...(provider ? { provider } : {}) }, use);
    } finally {
      variant.discard();
    }
  }

  /** Runs a changed copy of the rewritten model over all cases. */
  async #each(
    runs: readonly CaseRun[],
    edit: (model: Model) => void,
    look: (run: CaseRun, outputs: Record<string, Tensor>) => void,
  ): Promise<void> {
    await this.#with(this.pair.rewritten, edit, async (session) => {
      for (const run of runs) look(run, await session.run(this.#feeds(run)));
    });
  }

  #feeds(run: CaseRun): Record<string, Tensor> {
    const mix: Tensor = { dtype: 1, shape: [], data: Float32Array.of(1) };
    return this.pair.record.options.mixInput ? { ...run.feeds, diff_attn_mix: mix } : run.feeds;
  }

  async #checkLayers(runs: readonly CaseRun[]): Promise<Check> {
    const check = new CheckBuilder(
      'layers',
      'every rewritten layer equals differential attention in float64',
    );
    const names = this.#layers.flatMap((under) => [...neededValues(under), under.layer.output]);
    await this.#each(
      runs,
      (model) => void expose(model, names),
      (run, outputs) => compareLayers(this.#layers, outputs, run, check),
    );
    return check.done();
  }

  async #checkNeutralised(runs: readonly CaseRun[]): Promise<Check> {
    const check = new CheckBuilder(
      'neutralised',
      'with lambda 0 and without the norm, the outputs are the original ones',
    );
    await this.#each(
      runs,
      (model) => neutralise(model, this.pair.record),
      (run, outputs) => compareFunction(run, outputs, check),
    );
    return check.done();
  }

  async #checkMirrored(runs: readonly CaseRun[]): Promise<Check> {
    const { record, original } = this.pair;
    const check = new CheckBuilder(
      'mirrored',
      'with mirrored weights, the negative component equals the positive one',
    );
    const names = this.#layers.flatMap(({ layer }) => Object.values(layer.start));
    await this.#each(
      runs,
      (model) => {
        mirror(model, record, original, this.sites);
        expose(model, names);
      },
      (run, outputs) => compareMirrored(this.#layers, outputs, run, check),
    );
    return check.done();
  }

  async #checkFunction(runs: readonly CaseRun[]): Promise<Check> {
    const check = new CheckBuilder('function', 'the outputs are those of the original');
    await this.#each(
      runs,
      () => undefined,
      (run, outputs) => compareFunction(run, outputs, check),
    );
    if (!check.done().passed) await this.#locate(runs, check);
    return check.done();
  }

  /** Names the layers at which the outputs part. */
  async #locate(runs: readonly CaseRun[], check: CheckBuilder): Promise<void> {
    const names = this.#layers.map(({ layer }) => layer.output);
    const show = (model: Model) => void expose(model, names);
    const before = await this.#with(this.pair.original, show, (session) =>
      Promise.all(runs.map((run) => session.run(run.feeds))),
    );
    let index = 0;
    await this.#each(runs, show, (run, outputs) => {
      compareAttended(this.#layers, before[index++] ?? {}, outputs, run, check);
    });
  }
}
