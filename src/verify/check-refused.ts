import type { Bench, Tensors } from './bench';
import { inputOf, orRefusal } from './case-runs';
import { awaitLayers, type Hearing, makeVisible } from './check-layers';
import { outputPlace } from './decouple';
import { expose } from './exposure';
import { compareLayers, labelOf } from './layer-checks';
import { keyOf } from './places';
import { asStored } from './probe';
import type { CheckBuilder } from './report';
import type { RefusedRun } from './rewritten-runs';

/**
 * Looks at cases in which the rewritten file does not run where the original does, though its options give another function.
 * That may be the data's doing: where tokens are routed to experts that were traced one by one, other numbers go elsewhere,
 * and not every way was traced. So a copy runs in which everybody hears what the attentions of the original give: it must
 * run, what its own attentions give must have the original's shapes, and each must be right. Everything else is a finding.
 * @param notVerified gets a line for each of them
 * @returns how many cases are like that
 */
export async function checkRefused(
  bench: Bench,
  refused: readonly RefusedRun[],
  check: CheckBuilder,
  notVerified: string[],
): Promise<number> {
  let excused = 0;
  if (refused.length === 0) return excused;
  const { layers, pair } = bench;
  const heard = await heardInOriginal(bench, refused);
  await bench.noteRefusals(check, () =>
    bench.ofRewritten(
      (model) => makeVisible(bench, model),
      async (session, { exposure, decoupling }) => {
        const stored = asStored(pair.rewritten, layers);
        for (const [index, { run, reason }] of refused.entries()) {
          const hearing: Hearing = (place) => heard[index]?.get(keyOf(place));
          const feeds = bench.feeds(run, 'both', { ...stored.feeds, ...decoupling.on(hearing) });
          const outputs = await orRefusal(() => session.run(feeds));
          if (typeof outputs === 'string') {
            check.findOnce(reason);
            continue;
          }
          if (excused++ === 0) awaitLayers(layers, check);
          check.ranOn(inputOf(run));
          notVerified.push(
            `${run.where}: the rewritten model as a whole, since what its attentions give now leads where it does not run (${reason}); each attention was looked at hearing what the original gives`,
          );
          compareShapes(bench, hearing, exposure.read(outputs).values, run.where, check);
          const where = `${run.where}, each hearing the original`;
          compareLayers(layers, bench.look(exposure, outputs, feeds, { where }), bench.limits, check);
        }
      },
    ),
  );
  return excused;
}

/** What the attentions of the original give, case by case. */
async function heardInOriginal(bench: Bench, refused: readonly RefusedRun[]) {
  const heard: ReadonlyMap<string, Tensors[string]>[] = [];
  await bench.ofOriginal(
    (model) => expose(model, bench.layers.map(outputPlace)),
    async (session, exposure) => {
      for (const { run } of refused) heard.push(exposure.read(await session.run(run.feeds)).values);
    },
  );
  return heard;
}

function compareShapes(
  { layers }: Bench,
  expected: Hearing,
  given: ReadonlyMap<string, Tensors[string]>,
  where: string,
  check: CheckBuilder,
): void {
  for (const under of layers) {
    const place = outputPlace(under);
    const [wanted, found] = [expected(place)?.shape.join(), given.get(keyOf(place))?.shape.join()];
    if (wanted === found) continue;
    const label = labelOf(under, layers);
    check.find(`${label}: gives [${found ?? 'nothing'}], not [${wanted}] (${where})`, under.layer.path);
  }
}
