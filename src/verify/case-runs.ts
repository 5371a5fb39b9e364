import { DiffxError, errors, isRefused } from '../errors';
import type { Model } from '../ir';
import { describeCase, type FeedCase, isDelicate, loadFeeds, makeFeeds, planCases } from './feeds';
import { fitInputs } from './fit';
import { longestLengths } from './longest';
import { randomNode } from './random-results';
import type { Session } from './session';
import { type Tensor, toFloat64 } from './tensor';
import type { Tolerance } from './tolerance';

/** One set of inputs, and what the original gives for it. */
export interface CaseRun {
  /** For messages. */
  readonly where: string;
  /** The same without how the models were optimized. Default: `where`. */
  readonly input?: string;
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

/** What the inputs of a run are called. */
export function inputOf({ input, where }: CaseRun): string {
  return input ?? where;
}

/**
 * Runs the original once more over cases that it ran before.
 * @param where is added to what the cases are called
 * @param skipped gets a line for each case that it does not run there
 */
export async function rerunOriginal(
  runs: readonly CaseRun[],
  session: Session,
  where: string,
  skipped: string[],
): Promise<CaseRun[]> {
  const again: CaseRun[] = [];
  for (const run of runs) {
    const outputs = await orRefusal(() => session.run(run.feeds));
    if (typeof outputs === 'string')
      skipped.push(`${run.where}${where}: the original itself does not run: ${outputs}`);
    else again.push({ ...run, where: `${run.where}${where}`, input: inputOf(run), outputs });
  }
  return again;
}

/** What a run gives, or why ONNX Runtime refuses it. */
export async function orRefusal<T>(run: () => Promise<T>): Promise<T | string> {
  try {
    return await run();
  } catch (error) {
    if (!isRefused(error)) throw error;
    return error.message;
  }
}

/**
 * Runs the original over all cases.
 * @param skipped gets a line for each case that the original itself does not run
 * @throws DiffxError where it runs none, and where it gives something else each time
 */
export async function runOriginal(
  original: Model,
  session: Session,
  settings: CaseSettings,
  skipped: string[],
): Promise<CaseRun[]> {
  const runs = await runCases(original, session, settings, skipped);
  const [first] = runs;
  const random = first && (await randomNode(original, session, first));
  if (random) throw errors.randomResults(original.file.path, random.label);
  return runs;
}

async function runCases(
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
  const nothing: string[] = [];
  const attempt = async (feedCase: FeedCase): Promise<boolean> => {
    const where = describeCase(feedCase);
    const feeds = makeFeeds(inputs, feedCase);
    try {
      const outputs = await session.run(feeds);
      if (givesNoNumber(outputs)) {
        reason = 'all that it gives is NaN';
        nothing.push(where);
        return false;
      }
      if (isDelicate(feedCase) && !Object.values(outputs).every(isAllFinite)) {
        skipped.push(`${where}: the original itself gives numbers that are not finite`);
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
    if (await attempt(feedCase)) continue;
    const where = describeCase(feedCase);
    const what = nothing.includes(where) ? 'gives nothing that can be compared' : 'does not run';
    skipped.push(`${where}: the original itself ${what}: ${reason}`);
  }
  if (!lengths) {
    for (const length of longestLengths(original, inputs)) {
      const [longest] = planCases(inputs, { ...plan, lengths: [length], batches: [1] });
      if (longest && longest.sequence === length && (await attempt(longest))) break;
    }
  }
  if (runs.length === 0 && nothing.length > 0) throw errors.nothingComparable(original.file.path, nothing);
  if (runs.length === 0) throw errors.noCaseRuns(original.file.path, reason);
  return runs;
}

/** True where there are numbers to give, and each of them is NaN or infinite. */
function givesNoNumber(outputs: CaseRun['outputs']): boolean {
  const all = Object.values(outputs).filter(({ data }) => data.length > 0);
  return all.length > 0 && all.every((each) => !toFloat64(each).some(Number.isFinite));
}

function isAllFinite(tensor: Tensor): boolean {
  return toFloat64(tensor).every((value) => Number.isFinite(value));
}
