import { metricName, numberLayers, pickEvenly, RUN_METRICS, type RunMetric } from '../attention/monitored';
import type { Graph } from '../ir';
import type { Bench, Tensors } from './bench';
import type { CaseRun } from './case-runs';
import type { PositiveRun } from './check-layers';
import { compareTensors } from './compare';
import { decouple } from './decouple';
import { disturbSecond } from './exchange';
import { expose } from './exposure';
import type { Look } from './layer-checks';
import { componentNames, componentsOf, type LayerUnderTest, placesOf } from './layer-reference';
import { scaled } from './precision';
import type { Array64 } from './reference';
import { type Check, CheckBuilder } from './report';
import type { Tensor } from './tensor';

/**
 * Compares the metrics among the outputs with mean and sample standard deviation, in float64, of what flows through the
 * layers (SPEC section 7). The second weights are others than the file's: under `mirror` and `preserve`, both components
 * would be the same. Where it is known what the attentions of the file itself give, they hear that.
 * @param positive what each case has shown, in duplicate mode
 */
export async function checkMonitored(
  bench: Bench,
  runs: readonly CaseRun[],
  positive: readonly (PositiveRun | undefined)[],
): Promise<Check> {
  const check = new CheckBuilder('monitored', 'every metric is that of its layer');
  compareChoice(bench, check);
  const { monitored, options } = bench.pair.record;
  const shown = bench.layers.filter(({ layer }) => monitored.some(({ path }) => path === layer.path));
  for (const { outputs, path } of monitored)
    for (const metric of RUN_METRICS) check.await(outputs[metric], path);
  await bench.noteRefusals(check, () =>
    bench.ofRewritten(
      (model) => {
        if (options.heads === 'duplicate') disturbSecond(model, bench.layers);
        const decoupling = decouple(model, bench.layers);
        return { exposure: expose(model, placesOf(shown, componentNames)), decoupling };
      },
      async (session, { exposure, decoupling }) => {
        for (const [index, run] of runs.entries()) {
          const heard = positive[index]?.heard;
          const feeds = bench.feeds(run, 'both', heard ? decoupling.on(heard) : decoupling.off);
          const outputs = await bench.inCase(check, run, () => session.run(feeds));
          if (!outputs) continue;
          compareMetrics(bench, shown, bench.look(exposure, outputs, feeds, run), outputs, check);
        }
      },
    ),
  );
  return check.done();
}

/** The layers are those that the recorded options choose, as far as an output can show them. */
function compareChoice({ pair, layers: known }: Bench, check: CheckBuilder): void {
  const { monitored, layers, options } = pair.record;
  const chosen = pickEvenly(numberLayers(layers), options.monitorLayers ?? 0);
  for (const { path } of chosen) {
    const runs = known.filter(({ layer }) => layer.path === path);
    const hidden = runs.some(({ site }) => !isInBranches(site.scope));
    if (hidden || monitored.some((each) => each.path === path)) check.count();
    else check.find(`${path}: is not monitored, and the recorded options choose it`, path);
  }
  for (const layer of monitored) {
    const { number, path, outputs } = layer;
    if (!chosen.some((each) => each.path === path && each.number === number))
      check.find(`${path}: is monitored, and the recorded options do not choose it`, path);
    for (const metric of RUN_METRICS) {
      const named = outputs[metric].startsWith(metricName(layer, metric));
      const there = pair.rewritten.graph.outputs.some(({ name }) => name === outputs[metric]);
      if (named && there) check.count();
      else check.find(`${path}: no output '${metricName(layer, metric)}'`, path);
    }
  }
}

/** True in the main graph, and in what only bodies of If stand around. */
function isInBranches({ owner, parent }: Graph): boolean {
  return !owner || !parent || (owner.is('If') && isInBranches(parent));
}

/** Of a layer that runs several times, the metrics are those of the last run that was reached. */
function compareMetrics(
  bench: Bench,
  layers: readonly LayerUnderTest[],
  look: Look,
  given: Tensors,
  check: CheckBuilder,
): void {
  for (const { path, outputs } of bench.pair.record.monitored) {
    const last = layers.findLast((under) => {
      return under.layer.path === path && !placesOf([under], componentNames).some(look.isNotTaken);
    });
    const expected = last ? metricsOf(last, look) : undefined;
    for (const metric of RUN_METRICS) {
      const value = expected?.[metric] ?? Number.NaN;
      const tolerance = scaled(bench.toleranceOf(1), Math.abs(value) || 1);
      const scalar: Tensor = { dtype: 11, shape: [], data: Float64Array.of(value) };
      const actual = given[outputs[metric]];
      const wide = actual && { ...scalar, shape: actual.shape, data: Float64Array.from(actual.data, Number) };
      check.compare(outputs[metric], compareTensors(scalar, wide, tolerance), look.where, path);
    }
  }
}

function metricsOf(under: LayerUnderTest, look: Look): Record<RunMetric, number> {
  const { scope } = under;
  const [first, second] = componentsOf(under, (name) => look.at({ scope, name }));
  const [attn1, attn2] = [statistics(first), statistics(second)];
  return {
    attn1_mean: attn1.mean,
    attn1_std: attn1.deviation,
    attn2_mean: attn2.mean,
    attn2_std: attn2.deviation,
  };
}

/** Mean and sample standard deviation of all elements. */
function statistics({ data }: Array64): { mean: number; deviation: number } {
  const mean = data.reduce((sum, value) => sum + value, 0) / data.length;
  const squares = data.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / (data.length - 1)) };
}
