import { Shapes } from '../analyse';
import { presetOf } from '../attention/presets';
import type { Model } from '../ir';
import type { Bench, Tensors } from './bench';
import type { CaseRun } from './case-runs';
import { compareTensors, type TensorComparison } from './compare';
import { decouple, decoupled } from './decouple';
import { expose } from './exposure';
import { compareLayers, componentValues, type Look, labelOf, mapName } from './layer-checks';
import { comparedValue, neededValues, placesOf } from './layer-reference';
import { outputsThatOptimizationsChange } from './optimized-outputs';
import { keyOf } from './places';
import { asProbed, asStored, openParameters } from './probe';
import type { CheckBuilder } from './report';
import { addExchangedCall } from './split-operator';
import { StepChanges } from './steps';
import type { Tensor } from './tensor';
import type { Tolerance } from './tolerance';

/** What the positive components are made of, case by case, where no attention hears another one. */
export interface PositiveRun {
  readonly look: Look;
  readonly outputs: Tensors;
}

/** An output of the file itself that is not what the copy gives which shows the layers. */
interface Difference {
  readonly output: string;
  readonly where: string;
  readonly tolerance: Tolerance;
  compare(tolerance: Tolerance): TensorComparison;
}

/**
 * Runs a copy of the rewritten model that shows the layers: with its own parameters, which must change nothing, and with
 * others. At home in duplicate mode also once decoupled, for the exchange of the components.
 * @param runs what the original gives there
 * @param given what the file itself gives, case by case
 * @param notVerified gets a line for each output of the file itself that nothing can be said of
 * @returns what the positive components are made of, where that is asked for
 */
export async function checkLayers(
  bench: Bench,
  runs: readonly CaseRun[],
  given: readonly Tensors[],
  check: CheckBuilder,
  notVerified: string[],
  withPositive = false,
): Promise<readonly PositiveRun[]> {
  const positive: PositiveRun[] = [];
  const differences: Difference[] = [];
  await bench.noteRefusals(check, () =>
    lookAtLayers(bench, runs, given, withPositive ? positive : undefined, check, differences),
  );
  if (differences.length > 0) await explain(bench, runs, differences, check, notVerified);
  return positive;
}

/**
 * What is shown is not fused, so that a quantized model may come out on the other side of a step. Where fusing changes an
 * output of the original too, the file and the copy may differ by more without anything being wrong; what the file computes
 * is then shown without optimizations alone.
 */
async function explain(
  bench: Bench,
  runs: readonly CaseRun[],
  differences: readonly Difference[],
  check: CheckBuilder,
  notVerified: string[],
): Promise<void> {
  const steps = new StepChanges(bench, runs);
  let changed: ReadonlyMap<string, TensorComparison> | undefined;
  for (const { output, where, tolerance, compare } of differences) {
    const comparison = await steps.allowing(output, tolerance, compare);
    if (!comparison.passed) changed ??= await outputsThatOptimizationsChange(bench, runs);
    const original = changed?.get(output);
    if (comparison.passed || !original || comparison.mismatch !== undefined)
      check.compare(`output '${output}' of the file itself`, comparison, where);
    else
      notVerified.push(
        `output '${output}' of the file itself on ${bench.place.provider.text}, optimized: optimizations change that of the original by up to ${original.maxAbs.toExponential(1)}, so they round differently where layers are looked at`,
      );
  }
}

async function lookAtLayers(
  bench: Bench,
  runs: readonly CaseRun[],
  given: readonly Tensors[],
  positive: PositiveRun[] | undefined,
  check: CheckBuilder,
  differences: Difference[],
): Promise<void> {
  const { layers, pair } = bench;
  for (const under of layers) {
    check.await(`${labelOf(under, layers)}: C`, under.layer.path);
    if (under.showsMap) check.await(`${labelOf(under, layers)}: map`, under.layer.path);
  }
  const only = new Set(placesOf(layers, (under) => componentValues(under, 'positive')).map(keyOf));
  await bench.ofRewritten(
    (model) => makeVisible(bench, model),
    async (session, exposure) => {
      const [stored, probed] = [asStored(pair.rewritten, layers), asProbed(pair.rewritten, layers)];
      for (const [index, run] of runs.entries()) {
        for (const setting of [stored, probed]) {
          const feeds = bench.feeds(run, 'both', { ...setting.feeds, ...decoupled(false) });
          const outputs = await session.run(feeds);
          const where = `${run.where}${setting.where}`;
          const look = bench.look(exposure, outputs, feeds, { where, mix: setting.mix });
          compareLayers(layers, look, bench.limits, check);
          if (setting === stored)
            differences.push(...compareFile(bench, given[index] ?? {}, outputs, where, check));
        }
        if (!positive) continue;
        const feeds = bench.feeds(run, 'positive', { ...stored.feeds, ...decoupled(true) });
        const outputs = await session.run(feeds);
        const look = bench.look(exposure, outputs, run.feeds, { where: run.where, only });
        const presents = bench.presents.flatMap(({ name }): [string, Tensor][] => {
          const present = outputs[name];
          return present ? [[name, present]] : [];
        });
        positive.push({ look, outputs: Object.fromEntries(presents) });
      }
    },
  );
}

function makeVisible(bench: Bench, model: Model) {
  const { layers, pair } = bench;
  openParameters(model, layers);
  decouple(model, layers);
  const { pairing } = presetOf(pair.record.options);
  const calls = layers.filter((under) => under.calls);
  const shapes = calls.length > 0 ? new Shapes(pair.original) : undefined;
  for (const under of calls)
    if (under.calls && shapes) addExchangedCall(model, under.site, under.scope, under.calls, shapes, pairing);
  return expose(
    model,
    placesOf(layers, (under) => [
      ...neededValues(under),
      comparedValue(under),
      ...(under.showsMap ? [mapName(under)] : []),
    ]),
  );
}

/** What was looked at is what the file itself computes; gives what is not. */
function compareFile(
  bench: Bench,
  given: Tensors,
  outputs: Tensors,
  where: string,
  check: CheckBuilder,
): Difference[] {
  const differences: Difference[] = [];
  for (const [output, tensor] of Object.entries(given)) {
    const compare = (allowed: Tolerance) => compareTensors(tensor, outputs[output], allowed);
    const tolerance = bench.toleranceOf(tensor.dtype);
    const comparison = compare(tolerance);
    if (comparison.passed) check.compare(`output '${output}' of the file itself`, comparison, where);
    else differences.push({ output, where, tolerance, compare });
  }
  return differences;
}
