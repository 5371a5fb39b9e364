import { type Bench, mixFeed, type Tensors } from './bench';
import type { CaseRun } from './case-runs';
import type { NodeRun } from './profile';
import type { CheckBuilder } from './report';

/** What the rewritten file gives somewhere, case by case. */
export interface RewrittenRuns {
  readonly given: readonly Tensors[];
  /** With large numbers, case by case. */
  readonly loud: readonly Tensors[];
  /** With the warm-up input at 0, where there is one. */
  readonly unmixed: readonly Tensors[];
  /** Which provider ran which node; empty at home. */
  readonly nodes: readonly NodeRun[];
}

/** Runs the rewritten file itself over all cases; undefined where it does not run, which is a finding. */
export async function runRewritten(
  bench: Bench,
  runs: readonly CaseRun[],
  loudRuns: readonly CaseRun[],
  check: CheckBuilder,
): Promise<RewrittenRuns | undefined> {
  const given: Tensors[] = [];
  const loud: Tensors[] = [];
  const unmixed: Tensors[] = [];
  const nodes: NodeRun[] = [];
  const elsewhere = bench.place.provider.provider !== 'cpu';
  const ran = await bench.noteRefusals(check, () =>
    bench.rewritten(async (session) => {
      for (const run of runs) {
        // Under `preserve`, both components have cached the same keys.
        given.push(await session.run(bench.feeds(run, 'both')));
        if (bench.pair.record.options.mixInput)
          unmixed.push(await session.run(bench.feeds(run, 'positive', mixFeed(0))));
      }
      for (const run of loudRuns) loud.push(await session.run(bench.feeds(run, 'both')));
      if (elsewhere) nodes.push(...(await session.endProfiling()));
    }, elsewhere),
  );
  return ran ? { given, loud, unmixed, nodes } : undefined;
}
