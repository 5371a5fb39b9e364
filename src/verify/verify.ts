import type { LocatedSite } from '../attention/find';
import type { RewriteRecord } from '../attention/record';
import type { Model } from '../ir';
import type { ByteRange } from '../onnx';
import { Bench } from './bench';
import type { CaseSettings } from './case-runs';
import { checkParameters } from './check-parameters';
import { checkRecord } from './check-record';
import { checkRecordedOutputs } from './check-recorded-outputs';
import { firstLayer, matchLayers } from './layer-order';
import { Correspondence, checkStructure } from './outside';
import { CPU, notHandedOn, parseProviders, settleTf32 } from './providers';
import type { Check, PlacementAtLevel, VerifyReport } from './report';
import type { Requirement } from './requirement';
import type { Timing } from './timings';
import { verifyElsewhere } from './verify-elsewhere';
import { verifyAtHome } from './verify-home';

export interface VerifySettings extends CaseSettings {
  /** Execution provider, as `--ep` gives it. Default cpu. */
  readonly ep?: string | readonly string[];
  /** A file of inputs and outputs that somebody has recorded: what the rewritten model must give. */
  readonly against?: string;
  /** What must run on it: all nodes, or all but shape arithmetic. Default compute. */
  readonly requireEp?: Requirement;
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
  /** Functions and operators of the original that were taken apart in `original`, as they were for the rewrite. */
  readonly prepared: readonly string[];
  /** Does the same to another copy of the original. */
  readonly prepareOriginal: (model: Model) => void;
}

/**
 * Proves a rewrite: structure and parameters without running it, then layer by layer against the float64 reference,
 * neutralised and with exchanged components, and where the options keep the function, output by output against the
 * original; all of it on the CPU, and what depends on the provider on every other one that is asked for. A rewritten
 * model that does not run is a finding.
 * @throws DiffxError provider-unavailable, feed-mismatch; runtime-refused and no-case-runs where the original does not run
 */
export async function verifyPair(pair: Pair, settings: VerifySettings = {}): Promise<VerifyReport> {
  const { original, rewritten, record, sites } = pair;
  const specs = parseProviders(settings.ep);
  settleTf32(specs);
  const report = (
    checks: readonly Check[],
    notVerified: readonly string[],
    cases: readonly string[],
    placements: readonly PlacementAtLevel[] = [],
    timings: readonly Timing[] = [],
  ): VerifyReport => ({
    passed: checks.every(({ passed }) => passed),
    original: original.file.path,
    rewritten: rewritten.file.path,
    provider: specs.map(({ text }) => text).join(', '),
    placements,
    keepsFunction: pair.keepsFunction,
    checks,
    firstDivergingLayer: firstLayer(checks, sites),
    notVerified,
    cases,
    timings,
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
  const home = await verifyAtHome(bench, notVerified);
  const checks = [...still, ...home.checks];
  const placements: PlacementAtLevel[] = [];
  for (const spec of specs) {
    if (spec.provider === 'cpu') continue;
    notVerified.push(
      ...notHandedOn(spec).map((option) => `option ${option} of ${spec.text}: ${NOT_HANDED_ON}`),
    );
    const elsewhere = await verifyElsewhere(
      spec,
      home.runs,
      pair.keepsFunction,
      settings.requireEp ?? 'compute',
      notVerified,
    );
    checks.push(...elsewhere.checks);
    placements.push(...elsewhere.placements);
  }
  if (settings.against !== undefined) {
    const places = specs.length > 0 ? specs : [CPU];
    for (const spec of places)
      checks.push(await checkRecordedOutputs(bench, settings.against, spec, notVerified));
  }
  return report(checks, [...new Set(notVerified)], home.cases, placements, bench.timings.all());
}

const NOT_HANDED_ON = "onnxruntime-node does not hand it on, so the provider's default holds";
