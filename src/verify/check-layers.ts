import { Shapes } from '../analyse';
import { presetOf } from '../attention/presets';
import type { Model } from '../ir';
import type { Bench, Tensors } from './bench';
import type { CaseRun } from './case-runs';
import { compareTensors, type TensorComparison } from './compare';
import { type Decoupling, decouple, isHeardWhole, outputPlace } from './decouple';
import { type Exposure, expose } from './exposure';
import type { Component } from './key-caches';
import { compareLayers, componentValues, type Look, labelOf, mapName } from './layer-checks';
import { comparedValue, type LayerUnderTest, neededValues, placesOf } from './layer-reference';
import { outputsThatOptimizationsChange } from './optimized-outputs';
import { keyOf, type Place } from './places';
import { asProbed, asStored, openParameters, type Setting } from './probe';
import type { CheckBuilder } from './report';
import { addExchangedCall } from './split-operator';
import { StepChanges } from './steps';
import type { Tensor } from './tensor';
import type { Tolerance } from './tolerance';

/** What the positive components are made of in a case, where no attention hears another one. */
export interface PositiveRun {
  readonly look: Look;
  readonly outputs: Tensors;
  /** What was heard instead: what the attentions of the file itself give. */
  readonly heard: Hearing;
}

/** What an attention gave in some run. */
export type Hearing = (place: Place) => Tensor | undefined;

/** An output of the file itself that is not what the copy gives which shows the layers. */
interface Difference {
  readonly output: string;
  readonly where: string;
  readonly tolerance: Tolerance;
  compare(tolerance: Tolerance): TensorComparison;
}

/**
 * Runs a copy of the rewritten model that shows the layers: with its own parameters, which must change nothing, and with
 * others, under which every attention hears what it heard before. At home in duplicate mode also once decoupled, for the
 * exchange of the components. A case in which the copy does not run is left out.
 * @param runs what the original gives there
 * @param given what the file itself gives, case by case
 * @param notVerified gets a line for each output of the file itself that nothing can be said of
 * @returns what the positive components are made of, case by case, where that is asked for
 */
export async function checkLayers(
  bench: Bench,
  runs: readonly CaseRun[],
  given: readonly Tensors[],
  check: CheckBuilder,
  notVerified: string[],
  withPositive = false,
): Promise<readonly (PositiveRun | undefined)[]> {
  const positive: (PositiveRun | undefined)[] = [];
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
  positive: (PositiveRun | undefined)[] | undefined,
  check: CheckBuilder,
  differences: Difference[],
): Promise<void> {
  const { layers, pair } = bench;
  awaitLayers(layers, check);
  const only = new Set(placesOf(layers, (under) => componentValues(under, 'positive')).map(keyOf));
  await bench.ofRewritten(
    (model) => makeVisible(bench, model),
    async (session, { exposure, decoupling }) => {
      const [stored, probed] = [asStored(pair.rewritten, layers), asProbed(pair.rewritten, layers)];
      for (const [index, run] of runs.entries()) {
        const show = async (past: Component | 'both', setting: Setting, feeds: Tensors) => {
          const fed = bench.feeds(run, past, { ...setting.feeds, ...feeds });
          const outputs = await session.run(fed);
          const where = `${run.where}${setting.where}`;
          return { fed, outputs, look: bench.look(exposure, outputs, fed, { where, mix: setting.mix }) };
        };
        await bench.inCase(check, run, async () => {
          const plain = await show('both', stored, decoupling.off);
          compareLayers(layers, plain.look, bench.limits, check);
          differences.push(...compareFile(bench, given[index] ?? {}, plain.outputs, plain.look.where, check));
          const heard = hearing(bench, exposure, plain.outputs);
          const other = await show('both', probed, decoupling.on(heard));
          compareLayers(layers, other.look, bench.limits, check);
          if (!positive) return;
          const { outputs } = await show('positive', stored, decoupling.on(heard));
          const look = bench.look(exposure, outputs, run.feeds, { where: run.where, only });
          positive[index] = { look, outputs: presentsOf(bench, outputs), heard };
        });
      }
    },
  );
}

/** Comparisons that must be made at least once. */
export function awaitLayers(layers: readonly LayerUnderTest[], check: CheckBuilder): void {
  for (const under of layers) {
    check.await(`${labelOf(under, layers)}: C`, under.layer.path);
    if (under.showsMap) check.await(`${labelOf(under, layers)}: map`, under.layer.path);
  }
}

/** What the attentions gave in a run, where a run has one value of it. */
export function hearing(
  { pair: { rewritten }, layers }: Bench,
  exposure: Exposure,
  outputs: Tensors,
): Hearing {
  const { values } = exposure.read(outputs);
  const known = new Map<string, Tensor>();
  for (const place of layers.map(outputPlace)) {
    const value = isHeardWhole(rewritten, place) ? values.get(keyOf(place)) : undefined;
    if (value) known.set(keyOf(place), value);
  }
  return (place) => known.get(keyOf(place));
}

function presentsOf({ presents }: Bench, outputs: Tensors): Tensors {
  const given = presents.flatMap(({ name }): [string, Tensor][] => {
    const present = outputs[name];
    return present ? [[name, present]] : [];
  });
  return Object.fromEntries(given);
}

/** A copy of the rewritten model that shows its layers, and in which they need not hear one another. */
export function makeVisible(
  bench: Bench,
  model: Model,
): { readonly exposure: Exposure; readonly decoupling: Decoupling } {
  const { layers, pair } = bench;
  openParameters(model, layers);
  const decoupling = decouple(model, layers);
  const { pairing } = presetOf(pair.record.options);
  const calls = layers.filter((under) => under.calls);
  const shapes = calls.length > 0 ? new Shapes(pair.original) : undefined;
  for (const under of calls)
    if (under.calls && shapes) addExchangedCall(model, under.site, under.scope, under.calls, shapes, pairing);
  const places = placesOf(layers, (under) => [
    ...neededValues(under),
    comparedValue(under),
    under.layer.output,
    ...(under.showsMap ? [mapName(under)] : []),
  ]);
  return { exposure: expose(model, places), decoupling };
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
