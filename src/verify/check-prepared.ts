import type { Bench } from './bench';
import { type CaseRun, inputOf } from './case-runs';
import { compareFunction } from './layer-checks';
import { type Check, CheckBuilder } from './report';

/**
 * The rewrite puts functions that hold attention in the place of their calls, and takes packed inputs of operators apart;
 * so does verification, before it compares anything. So the original is run once more as it was compared: it must give
 * what the file gives.
 */
export async function checkPrepared(bench: Bench, runs: readonly CaseRun[]): Promise<Check> {
  const check = new CheckBuilder(
    'prepared',
    'the original gives the same with its functions and packed inputs taken apart',
  );
  for (const name of Object.keys(runs[0]?.outputs ?? {})) check.await(name);
  await bench.noteRefusals(check, () =>
    bench.ofOriginal(
      () => undefined,
      async (session) => {
        for (const run of runs) {
          await compareFunction(run, await session.run(run.feeds), bench.toleranceOf, check);
          check.ranOn(inputOf(run));
        }
      },
    ),
  );
  return check.done();
}
