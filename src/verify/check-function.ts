import { isShapeReader } from '../analyse';
import type { Model, Value } from '../ir';
import type { Bench, Tensors } from './bench';
import { type CaseRun, inputOf, orRefusal } from './case-runs';
import { compareTensors } from './compare';
import { disturbSecond } from './exchange';
import { expose, type Shown } from './exposure';
import { type Component, halveOutputs } from './key-caches';
import { compareFunction, labelOf } from './layer-checks';
import { placesOf } from './layer-reference';
import { neutralise } from './neutralise';
import { changesOfOriginal } from './optimized-outputs';
import type { Correspondence } from './outside';
import { keyOf } from './places';
import { type Check, CheckBuilder } from './report';
import { StepChanges } from './steps';

/**
 * Compares what the rewritten file gives with what the original gives.
 * @param runs what the original gives at home
 * @param given outputs of the rewritten file, case by case
 * @param notVerified gets a line for each output that optimizations change, so that it cannot be compared as exactly as others
 * @returns whether they differ
 */
export async function compareOutputs(
  bench: Bench,
  runs: readonly CaseRun[],
  given: readonly Tensors[],
  check: CheckBuilder,
  notVerified: string[],
  home = bench,
): Promise<boolean> {
  const maps = outputsOfMaps(bench.map.maps);
  const compared = runs.map((run) => ({
    ...run,
    outputs: Object.fromEntries(Object.entries(run.outputs).filter(([name]) => !maps.has(name))),
  }));
  awaitOutputs(compared, check);
  const allowance = changesOfOriginal(bench, runs, new StepChanges(bench, runs), home);
  const before = check.failures;
  for (const [index, run] of compared.entries()) {
    check.ranOn(inputOf(run));
    const actual = halveOutputs(given[index] ?? {}, bench.presents);
    await compareFunction(run, actual, bench.toleranceOf, check, allowance);
  }
  notVerified.push(...allowance.notes);
  return check.failures > before;
}

/** As `compareOutputs`; where they differ, names the first attention that gives something else. */
export async function checkFunction(
  bench: Bench,
  runs: readonly CaseRun[],
  given: readonly Tensors[],
  check: CheckBuilder,
  notVerified: string[],
): Promise<void> {
  if (await compareOutputs(bench, runs, given, check, notVerified))
    await bench.noteRefusals(check, () => locate(bench, runs, 'both', () => undefined, check));
}

/** Compares the original with a copy of the rewritten model in which the negative component must not matter. */
export async function checkNeutralised(bench: Bench, runs: readonly CaseRun[]): Promise<Check> {
  const check = new CheckBuilder(
    'neutralised',
    'with lambda 0 and without the norm, the outputs are the original ones',
  );
  const edit = (model: Model) => {
    // A copy of the positive component could stand in its place.
    disturbSecond(model, bench.layers);
    for (const { message, layer } of neutralise(model, bench.pair.record)) check.findOnce(message, layer);
  };
  await bench.noteRefusals(check, async () => {
    awaitOutputs(runs, check);
    const steps = new StepChanges(bench, runs);
    await bench.ofRewritten(edit, async (session) => {
      for (const run of runs) {
        const given = await bench.inCase(check, run, () => session.run(bench.feeds(run, 'positive')));
        if (!given) continue;
        const outputs = halveOutputs(given, bench.presents);
        await compareFunction(run, outputs, bench.toleranceOf, check, steps);
      }
    });
    if (check.failures > 0) await locate(bench, runs, 'positive', edit, check);
  });
  return check.done();
}

/** Names of the outputs that attention maps flow into, other than by way of the product with values. */
export function outputsOfMaps(maps: Correspondence['maps']): Set<string> {
  const products = new Set(
    [...maps.values()].map(({ core }) => (core.kind === 'written-out' ? core.product : undefined)),
  );
  const outputs = new Set<string>();
  const seen = new Set<Value>(maps.keys());
  for (const value of seen) {
    if (value.isOutput) outputs.add(value.name);
    const outer = value.scope.handedOut(value);
    if (outer) seen.add(outer);
    for (const reader of value.readers) {
      if (isShapeReader(reader) || products.has(reader)) continue;
      for (const output of reader.outputs) if (output) seen.add(output);
    }
  }
  return outputs;
}

function awaitOutputs(runs: readonly CaseRun[], check: CheckBuilder): void {
  for (const name of Object.keys(runs[0]?.outputs ?? {})) check.await(name);
}

/** Where outputs differ: names the first attention, in the order of the data, that gives something else. */
async function locate(
  bench: Bench,
  runs: readonly CaseRun[],
  past: Component | 'both',
  edit: (model: Model) => void,
  check: CheckBuilder,
): Promise<void> {
  const { layers } = bench;
  const places = placesOf(layers, ({ layer }) => [layer.output]);
  const before: Shown['values'][] = [];
  await bench.ofOriginal(
    (model) => expose(model, places),
    async (session, exposure) => {
      for (const run of runs) before.push(exposure.read(await session.run(run.feeds)).values);
    },
  );
  const edited = (model: Model) => {
    edit(model);
    return expose(model, places);
  };
  let first = layers.length;
  let where = '';
  await bench.ofRewritten(edited, async (session, exposure) => {
    for (const [index, run] of runs.entries()) {
      const outputs = await orRefusal(() => session.run(bench.feeds(run, past)));
      if (typeof outputs === 'string') continue;
      const after = exposure.read(outputs).values;
      const differs = places.slice(0, first).findIndex((place) => {
        const expected = before[index]?.get(keyOf(place));
        const tolerance = bench.toleranceOf(expected?.dtype);
        return expected && !compareTensors(expected, after.get(keyOf(place)), tolerance).passed;
      });
      if (differs >= 0) [first, where] = [differs, run.where];
    }
  });
  const under = layers[first];
  if (!under) return;
  const { path } = under.layer;
  check.find(`${labelOf(under, layers)}: the first attention that gives something else (${where})`, path);
}
