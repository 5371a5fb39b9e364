import type { LocatedSite } from '../attention/find';
import type { RewriteRecord } from '../attention/record';
import type { Model } from '../ir';
import type { ByteRange } from '../onnx';
import { Bench } from './bench';
import { type CaseSettings, runOriginal } from './case-runs';
import { checkExchanged } from './check-exchanged';
import { checkFunction, checkNeutralised } from './check-function';
import { checkLayers } from './check-layers';
import { checkMonitored } from './check-monitored';
import { checkParameters } from './check-parameters';
import { checkRecord } from './check-record';
import { firstLayer, matchLayers } from './layer-order';
import { Correspondence, checkStructure } from './outside';
import { parseProviders } from './providers';
import type { Check, VerifyReport } from './report';

export interface VerifySettings extends CaseSettings {
  /** Execution provider, as `--ep` gives it. Default cpu. */
  readonly ep?: string | readonly string[];
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
 * neutralised and with exchanged components, and where the options keep the function, output by output against the
 * original. A rewritten model that does not run is a finding.
 * @throws DiffxError provider-unavailable, feed-mismatch; runtime-refused and no-case-runs where the original does not run
 */
export async function verifyPair(pair: Pair, settings: VerifySettings = {}): Promise<VerifyReport> {
  const { original, rewritten, record, sites } = pair;
  const report = (checks: readonly Check[], notVerified: readonly string[], cases: readonly string[]) => ({
    passed: checks.every(({ passed }) => passed),
    original: original.file.path,
    rewritten: rewritten.file.path,
    provider: parseProviders(settings.ep)
      .map(({ text }) => text)
      .join(', '),
    keepsFunction: pair.keepsFunction,
    checks,
    firstDivergingLayer: firstLayer(checks, sites),
    notVerified,
    cases,
  });
  const recorded = checkRecord(original, record, sites);
  // Nothing can be compared by a record that is not true.
  if (!recorded.passed)
    return report([recorded], ['neither model was looked at: the record is not true of the original'], []);
  const chosen = matchLayers(record, sites).map(({ site }) => site);
  const notVerified = sites
    .filter((site) => !chosen.includes(site))
    .map((site) => `${site.path}: not rewritten, so only compared byte for byte`);
  const map = new Correspondence(original, rewritten, record, sites);
  const still = [
    recorded,
    checkStructure(map, record, sites),
    checkParameters(rewritten, record, chosen, pair.expectedParameters),
  ];
  const bench = new Bench(pair, map, settings);
  const runs = await bench.original((session) => runOriginal(original, session, settings, notVerified));
  const { check, given, positive } = await checkLayers(bench, runs, notVerified);
  const checks = [...still, check];
  if (given === undefined) {
    notVerified.push('the layers: the rewritten model does not run');
  } else {
    if (record.options.heads === 'duplicate')
      checks.push(await checkNeutralised(bench, runs), await checkExchanged(bench, runs, positive));
    if (pair.keepsFunction) checks.push(await checkFunction(bench, runs, given, notVerified));
    if (record.monitored.length > 0) checks.push(await checkMonitored(bench, runs));
  }
  return report(
    checks,
    notVerified,
    runs.map(({ where }) => where),
  );
}
