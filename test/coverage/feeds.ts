/** What an export is run with, and what it should give. */
import type { Model } from '../../src/ir';
import { runOriginal } from '../../src/verify/case-runs';
import { compare } from '../../src/verify/compare';
import { precisionOf } from '../../src/verify/precision';
import { withSession } from '../../src/verify/session';
import { TOLERANCES, type Tolerance } from '../../src/verify/tolerance';
import { readTensors, runModel, type Tensors } from '../support/run';
import type { Opened } from './sources';

export interface Case {
  readonly feeds: Tensors;
  readonly outputs: Tensors;
  readonly tolerance: Tolerance;
}

/**
 * Inputs that were stored with the export, or else made from the graph. What it should give is what its framework gave,
 * where that was stored and the export itself gives the same; else what the export gives.
 * @throws DiffxError where the model does not run
 */
export async function caseOf({ model: path, io }: Opened, model: Model): Promise<Case> {
  const tolerance = TOLERANCES[precisionOf(model)];
  if (io === undefined) {
    const [first] = await withSession(path, { threads: 1 }, (session) =>
      runOriginal(model, session, { batches: [2], lengths: [5] }, []),
    );
    return { feeds: first?.feeds ?? {}, outputs: first?.outputs ?? {}, tolerance };
  }
  const feeds = readTensors(io, 'input.');
  const own = await runModel(path, feeds);
  const stored = readTensors(io, 'output.');
  const outputs = compare(stored, own, tolerance).passed ? stored : own;
  return { feeds, outputs, tolerance };
}
