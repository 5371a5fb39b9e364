import { type Bench, mixFeed, type Tensors } from './bench';
import { type CaseRun, orRefusal } from './case-runs';
import type { NodeRun } from './profile';
import type { CheckBuilder } from './report';

/** What the rewritten file gives somewhere, case by case. */
export interface RewrittenRuns {
  /** The cases in which it runs. */
  readonly runs: readonly CaseRun[];
  readonly given: readonly Tensors[];
  /** With large numbers, case by case. */
  readonly loud: readonly Tensors[];
  /** With the warm-up input at 0, where there is one. */
  readonly unmixed: readonly Tensors[];
  /** Which provider ran which node; empty at home. */
  readonly nodes: readonly NodeRun[];
  /** Cases in which it does not run, and what ONNX Runtime says. */
  readonly refused: readonly RefusedRun[];
}

export interface RefusedRun {
  readonly run: CaseRun;
  readonly reason: string;
}

/**
 * Runs the rewritten file itself over all cases; undefined where it does not run, which is a finding.
 * @param mayRefuse true where the function is another one, so that what follows from it may not run: experts to which no
 *   token goes, say. Such cases are given back.
 */
export async function runRewritten(
  bench: Bench,
  runs: readonly CaseRun[],
  loudRuns: readonly CaseRun[],
  check: CheckBuilder,
  mayRefuse = false,
): Promise<RewrittenRuns | undefined> {
  const given: Tensors[] = [];
  const loud: Tensors[] = [];
  const unmixed: Tensors[] = [];
  const nodes: NodeRun[] = [];
  const ran: CaseRun[] = [];
  const refused: RefusedRun[] = [];
  const elsewhere = bench.place.provider.provider !== 'cpu';
  const work = () =>
    bench.rewritten(async (session) => {
      for (const run of runs) {
        // Under `preserve`, both components have cached the same keys.
        const once = () => session.run(bench.feeds(run, 'both'));
        const outputs = mayRefuse ? await orRefusal(once) : await once();
        if (typeof outputs === 'string') {
          refused.push({ run, reason: outputs });
          continue;
        }
        ran.push(run);
        given.push(outputs);
        if (bench.pair.record.options.mixInput)
          unmixed.push(await session.run(bench.feeds(run, 'positive', mixFeed(0))));
      }
      for (const run of loudRuns) loud.push(await session.run(bench.feeds(run, 'both')));
      if (elsewhere) nodes.push(...(await session.endProfiling()));
    }, elsewhere);
  const runsAtAll = await bench.noteRefusals(check, work, 'file');
  return runsAtAll ? { runs: ran, given, loud, unmixed, nodes, refused } : undefined;
}
