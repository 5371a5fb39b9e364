import { Shapes } from '../analyse';
import { presetOf } from '../attention/presets';
import type { Model } from '../ir';
import type { Bench, Tensors } from './bench';
import type { CaseRun } from './case-runs';
import { compareTensors } from './compare';
import { decouple, decoupled } from './decouple';
import { expose } from './exposure';
import { compareLayers, componentValues, type Look, labelOf, mapName } from './layer-checks';
import { comparedValue, neededValues, placesOf } from './layer-reference';
import { keyOf } from './places';
import { asProbed, asStored, openParameters } from './probe';
import type { CheckBuilder } from './report';
import { addExchangedCall } from './split-operator';
import type { Tensor } from './tensor';

/** What the positive components are made of, case by case, where no attention hears another one. */
export interface PositiveRun {
  readonly look: Look;
  readonly outputs: Tensors;
}

/**
 * Runs a copy of the rewritten model that shows the layers: with its own parameters, which must change nothing, and with
 * others. At home in duplicate mode also once decoupled, for the exchange of the components.
 * @param given what the file itself gives, case by case
 * @returns what the positive components are made of, where that is asked for
 */
export async function checkLayers(
  bench: Bench,
  runs: readonly CaseRun[],
  given: readonly Tensors[],
  check: CheckBuilder,
  withPositive = false,
): Promise<readonly PositiveRun[]> {
  const positive: PositiveRun[] = [];
  await bench.noteRefusals(check, () =>
    lookAtLayers(bench, runs, given, withPositive ? positive : undefined, check),
  );
  return positive;
}

async function lookAtLayers(
  bench: Bench,
  runs: readonly CaseRun[],
  given: readonly Tensors[],
  positive: PositiveRun[] | undefined,
  check: CheckBuilder,
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
          if (setting === stored) compareFile(bench, given[index] ?? {}, outputs, where, check);
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

/** What was looked at is what the file itself computes. */
function compareFile(
  bench: Bench,
  given: Tensors,
  outputs: Tensors,
  where: string,
  check: CheckBuilder,
): void {
  for (const [name, tensor] of Object.entries(given)) {
    const comparison = compareTensors(tensor, outputs[name], bench.toleranceOf(tensor.dtype));
    check.compare(`output '${name}' of the file itself`, comparison, where);
  }
}
