import { DiffxError, errors } from '../errors';
import type { Model } from '../ir';
import { describeCase, type FeedCase, isDelicate, loadFeeds, makeFeeds, planCases } from './feeds';
import { fitInputs, isNothingButNan } from './fit';
import { longestLengths } from './longest';
import type { Session } from './session';
import { type Tensor, toFloat64 } from './tensor';
import type { Tolerance } from './tolerance';

/** One set of inputs, and what the original gives for it. */
export interface CaseRun {
  /** For messages. */
  readonly where: string;
  readonly feeds: Record<string, Tensor>;
  readonly outputs: Record<string, Tensor>;
  /** Large numbers are rounded so coarsely that only overflow can be looked for. */
  readonly loud?: boolean;
}

export interface CaseSettings {
  /** A file of inputs instead of generated ones. */
  readonly inputs?: string;
  readonly seed?: number;
  /** Batch sizes and lengths of the generated inputs. Default: 1 and 3; 1, 5 and 16. */
  readonly batches?: readonly number[];
  readonly lengths?: readonly number[];
  /** Instead of the tolerances by what the model computes in. */
  readonly tolerance?: Tolerance;
}

/**
 * Runs the original once more over cases that it ran before.
 * @param where is added to what the cases are called
 */
export async function rerunOriginal(
  runs: readonly CaseRun[],
  session: Session,
  where: string,
): Promise<CaseRun[]> {
  const again: CaseRun[] = [];
  for (const run of runs)
    again.push({ ...run, where: `${run.where}${where}`, outputs: await session.run(run.feeds) });
  return again;
}

/**
 * Runs the original over all cases.
 * @param skipped gets a line for each case that the original itself does not run
 * @throws DiffxError where it runs none
 */
export async function runOriginal(
  original: Model,
  session: Session,
  settings: CaseSettings,
  skipped: string[],
): Promise<CaseRun[]> {
  const { inputs: path, seed = 0 } = settings;
  if (path !== undefined) {
    const feeds = { ...loadFeeds(path, session.inputs).feeds };
    return [{ where: `inputs of ${path}`, feeds, outputs: await session.run(feeds) }];
  }
  const { batches, lengths } = settings;
  const fit = await fitInputs(original, session, {
    ...(batches ? { batches } : {}),
    ...(lengths ? { lengths } : {}),
  });
  const { inputs } = fit;
  const runs: CaseRun[] = [];
  let reason = '';
  const attempt = async (feedCase: FeedCase): Promise<boolean> => {
    const where = describeCase(feedCase);
    const feeds = makeFeeds(inputs, feedCase);
    try {
      const outputs = await session.run(feeds);
      if (isDelicate(feedCase) && !Object.values(outputs).every(isAllFinite)) {
        skipped.push(`${where}: the original itself gives numbers that are not finite`);
        return true;
      }
      if (isNothingButNan(outputs)) {
        skipped.push(`${where}: the original itself gives nothing but NaN`);
        reason = 'it gives nothing but NaN';
        return true;
      }
      runs.push({ where, feeds, outputs, ...((feedCase.volume ?? 1) > 1 ? { loud: true } : {}) });
      return true;
    } catch (error) {
      if (!(error instanceof DiffxError)) throw error;
      reason = error.message;
      return false;
    }
  };
  const plan = { seed, ...fit.plan };
  for (const feedCase of planCases(inputs, plan)) {
    if (!(await attempt(feedCase)))
      skipped.push(`${describeCase(feedCase)}: the original itself does not run: ${reason}`);
  }
  if (!lengths) {
    for (const length of longestLengths(original, inputs)) {
      const [longest] = planCases(inputs, { ...plan, lengths: [length], batches: [1] });
      if (longest && longest.sequence === length && (await attempt(longest))) break;
    }
  }
  if (runs.length === 0) throw errors.noCaseRuns(original.file.path, reason);
  return runs;
}

function isAllFinite(tensor: Tensor): boolean {
  return toFloat64(tensor).every((value) => Number.isFinite(value));
}
