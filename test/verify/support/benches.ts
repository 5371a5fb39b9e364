/** A rewrite where it is run, and what its original gives there. */
import { passes } from '../../../passes';
import type { RewriteFileSettings } from '../../../src/api/rewrite';
import { findAttention } from '../../../src/attention/find';
import { readRecord } from '../../../src/attention/record';
import { load } from '../../../src/ir';
import { readModel } from '../../../src/onnx';
import { Bench, type Tensors } from '../../../src/verify/bench';
import { type CaseRun, runOriginal } from '../../../src/verify/case-runs';
import { Correspondence } from '../../../src/verify/outside';
import { type Tensor, toFloat64 } from '../../../src/verify/tensor';
import type { VerifySettings } from '../../../src/verify/verify';
import { pairOfModel } from './pairs';

export interface BenchAndRuns {
  readonly bench: Bench;
  readonly runs: readonly CaseRun[];
}

export async function benchAndRuns(
  model: string,
  settings: VerifySettings,
  optimization: 'all' | 'disabled',
  options: RewriteFileSettings = {},
): Promise<BenchAndRuns> {
  const pair = pairOfModel(model, options);
  const [original, rewritten] = [load(readModel(pair.original)), load(readModel(pair.rewritten))];
  const record = readRecord(rewritten);
  if (!record) throw new Error('no record');
  const { sites } = findAttention(original, passes.recognisers);
  const map = new Correspondence(original, rewritten, record, sites);
  const nothing = { prepared: [], prepareOriginal: () => undefined, expectedParameters: new Map() };
  const whole = { original, rewritten, record, sites, keepsFunction: false, ...nothing };
  const bench = new Bench(whole, map, settings).at({ optimization });
  const runs = await bench.original((session) => runOriginal(original, session, bench.settings, []));
  return { bench, runs };
}

/** Outputs whose numbers are all larger. */
export function larger(outputs: Tensors, by: number): Tensors {
  const entries = Object.entries(outputs).map(([name, tensor]): [string, Tensor] => [
    name,
    { ...tensor, data: Float32Array.from(toFloat64(tensor), (value) => value + by) },
  ]);
  return Object.fromEntries(entries);
}
