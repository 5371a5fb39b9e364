import type { Model } from '../ir';
import type { Bench } from './bench';
import type { CaseRun } from './case-runs';
import type { PositiveRun } from './check-layers';
import { compareTensors } from './compare';
import { decouple } from './decouple';
import { exchange } from './exchange';
import { expose } from './exposure';
import { halveOutputs } from './key-caches';
import { compareExchanged, componentValues } from './layer-checks';
import { placesOf } from './layer-reference';
import { type Check, CheckBuilder } from './report';

/**
 * Compares the positive component of every layer with the negative one of a copy in which the two have exchanged their
 * weights, and their caches. No attention hears another one, but what it heard in the file itself, so that all get what
 * they got. A case in which the copy does not run is left out.
 * @param notVerified gets a line for each layer of which this shows less
 */
export async function checkExchanged(
  bench: Bench,
  runs: readonly CaseRun[],
  positive: readonly (PositiveRun | undefined)[],
  notVerified: string[],
): Promise<Check> {
  const check = new CheckBuilder(
    'mirrored',
    'with exchanged weights, the negative component gives what the positive one gave',
  );
  const { layers, presents } = bench;
  const notExchanged = (path: string) => {
    notVerified.push(
      `${path}: whether its negative component takes anything of its positive one: others read what its queries and keys are made of, behind a node that cannot be copied`,
    );
  };
  const edit = (model: Model) => {
    for (const { message, layer } of exchange(model, layers, notExchanged)) check.findOnce(message, layer);
    const decoupling = decouple(model, layers);
    const places = placesOf(layers, (under) => componentValues(under, 'negative'));
    return { exposure: expose(model, places), decoupling };
  };
  await bench.noteRefusals(check, () =>
    bench.ofRewritten(edit, async (session, { exposure, decoupling }) => {
      for (const [index, run] of runs.entries()) {
        const before = positive[index];
        if (!before) continue;
        const feeds = bench.feeds(run, 'negative', decoupling.on(before.heard));
        const outputs = await bench.inCase(check, run, () => session.run(feeds));
        if (!outputs) continue;
        const after = bench.look(exposure, outputs, feeds, run);
        compareExchanged(layers, before.look, after, bench.toleranceOf, bench.settings.tolerance, check);
        const expected = halveOutputs(before.outputs, presents, 'positive');
        const actual = halveOutputs(outputs, presents, 'negative');
        for (const { name } of presents) {
          const tolerance = bench.toleranceOf(expected[name]?.dtype);
          const comparison = compareTensors(expected[name], actual[name], tolerance);
          check.compare(`${name}: keys of the negative component`, comparison, run.where);
        }
      }
    }),
  );
  return check.done();
}
