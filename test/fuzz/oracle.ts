/** Judges a mutant: what diffx makes of it, and whether that still gives what the mutant itself gives. */
import { readFileSync } from 'node:fs';
import { passes } from '../../passes';
import {
  type RewriteFileSettings,
  type RewriteOutput,
  rewriteModel,
  rewrittenBytes,
} from '../../src/api/rewrite';
import { readRecord } from '../../src/attention/record';
import { DiffxError, ExitCode } from '../../src/errors';
import { load } from '../../src/ir';
import { parseModel } from '../../src/onnx';
import { findPrepared } from '../../src/rewrite/prepare';
import { outputsOfMaps } from '../../src/verify/check-function';
import { compareTensors } from '../../src/verify/compare';
import { makeFeeds, planCases, resolveShapes } from '../../src/verify/feeds';
import { inputRoles } from '../../src/verify/input-roles';
import { doubledInputs, doubledOutputs, doubleFeeds, halveOutputs } from '../../src/verify/key-caches';
import { precisionOf, toleranceWithin } from '../../src/verify/precision';
import { type Session, withSession } from '../../src/verify/session';
import { elementCount, type Tensor, toFloat64 } from '../../src/verify/tensor';
import { found, type Verdict } from './verdict';

type Tensors = Readonly<Record<string, Tensor>>;

/** What goes on; the watch allows each phase its own time. */
export type Phase = 'idle' | 'diffx' | 'original' | 'rewritten';

export type OnPhase = (phase: Phase) => void;

/** The modes beside `preserve`, in turns: what they give must load. */
const OTHERS: readonly RewriteFileSettings[] = [
  { splitHeads: true },
  { preset: 'v2' },
  { init: 'mirror', emit: 'inline', mixInput: true },
  { init: 'zero', sublayerNorm: true, monitorLayers: 2 },
];

/**
 * @param turn picks the mode beside `preserve`
 * @param rewrite tests put something else in its place
 */
export async function judge(
  path: string,
  turn: number,
  onPhase: OnPhase,
  rewrite: typeof rewriteModel = rewriteModel,
): Promise<Verdict> {
  onPhase('diffx');
  const kept = attempt(path, { init: 'preserve' }, rewrite);
  const other = attempt(path, OTHERS[turn % OTHERS.length] ?? {}, rewrite);
  onPhase('idle');
  for (const each of [kept, other]) if ('verdict' in each && each.verdict.finding) return each.verdict;
  if ('verdict' in kept && 'verdict' in other) return kept.verdict;
  onPhase('original');
  const original = await originalOf(path);
  if (typeof original === 'string') return { outcome: original };
  onPhase('rewritten');
  for (const each of [other, kept]) {
    if ('verdict' in each) continue;
    const refused = await refusalOf(each.bytes);
    if (refused === undefined) continue;
    // Optimizations, and functions that are inlined, have more of a graph looked at: what contradicts itself is then refused.
    if ((await refusalOf(original.bytes, 'all')) !== undefined)
      return { outcome: 'invalid for ONNX Runtime' };
    return found('refused by ONNX Runtime', refused, refused);
  }
  return 'verdict' in kept ? { outcome: 'rewritten in another mode' } : compared(path, kept, original);
}

interface Rewritten {
  readonly output: RewriteOutput;
  readonly bytes: Uint8Array;
}

/** Rewrites; what is not understood is left where that is allowed. */
function attempt(
  path: string,
  settings: RewriteFileSettings,
  rewrite: typeof rewriteModel,
): Rewritten | { readonly verdict: Verdict } {
  try {
    const output = rewrite(path, settings);
    return { output, bytes: rewrittenBytes(output).read() };
  } catch (error) {
    if (!(error instanceof DiffxError) || error.exitCode === ExitCode.internal)
      return { verdict: faultOf(error) };
    if (error.code === 'unrewritten' && !settings.allowPartial)
      return attempt(path, { ...settings, allowPartial: true }, rewrite);
    return { verdict: { outcome: `refused: ${error.code}` } };
  }
}

function faultOf(error: unknown): Verdict {
  if (!(error instanceof Error)) return found('error', String(error), String(error));
  const frame = error.stack?.split('\n').find((line) => /^\s+at .*(src|passes)\//.test(line)) ?? '';
  const place = frame.replace(/^.*[/\\](\w[\w.-]*\.(js|ts)):.*$/, '$1');
  return found('error', error.stack ?? error.message, `${error.name} ${error.message} in ${place}`);
}

/** The mutant as ONNX Runtime runs it. */
interface Original {
  readonly bytes: Uint8Array;
  readonly feeds: Record<string, Tensor>;
  readonly outputs: Tensors;
}

const RUN = { threads: 1, optimization: 'disabled' } as const;

/** Feeds of more elements say nothing that smaller ones do not. */
const MOST_ELEMENTS = 1 << 20;

async function originalOf(path: string): Promise<Original | string> {
  try {
    const bytes = readFileSync(path);
    return await withSession(bytes, RUN, (session) => firstRun(bytes, session));
  } catch (error) {
    if (error instanceof DiffxError) return 'invalid for ONNX Runtime';
    return 'no inputs';
  }
}

async function firstRun(bytes: Uint8Array, session: Session): Promise<Original | string> {
  const inputs = inputRoles(load(parseModel(bytes)), session.inputs);
  for (const [batch, length] of [
    [2, 3],
    [1, 5],
    [1, 8],
    [1, 16],
  ] as const) {
    for (const feedCase of planCases(inputs, { batches: [batch], lengths: [length] }).slice(0, 3)) {
      const count = [...resolveShapes(inputs, feedCase).values()].reduce(
        (all, shape) => all + elementCount(shape),
        0,
      );
      if (count > MOST_ELEMENTS) continue;
      const feeds = makeFeeds(inputs, feedCase);
      const outputs = await session.run(feeds).catch(() => undefined);
      if (!outputs) continue;
      const again = await session.run(feeds);
      const same = Object.keys(outputs).every((name) => isSame(outputs[name], again[name]));
      return same ? { bytes, feeds, outputs } : 'not deterministic';
    }
  }
  return 'does not run';
}

function isSame(a: Tensor | undefined, b: Tensor | undefined): boolean {
  return compareTensors(a, b, { atol: 0, rtol: 0 }).passed;
}

/** By how much ONNX Runtime's optimizations change an output of the mutant. */
async function noiseOf({ bytes, feeds, outputs }: Original, name: string): Promise<number> {
  try {
    const optimized = await withSession(bytes, { threads: 1, optimization: 'all' }, (session) =>
      session.run(feeds, [name]),
    );
    return compareTensors(outputs[name], optimized[name]).maxAbs || 0;
  } catch {
    return 0;
  }
}

async function refusalOf(
  bytes: Uint8Array,
  optimization: 'disabled' | 'all' = 'disabled',
): Promise<string | undefined> {
  try {
    await withSession(bytes, { ...RUN, optimization }, async () => undefined);
    return undefined;
  } catch (error) {
    if (error instanceof DiffxError) return error.message;
    throw error;
  }
}

/** How much of the noise that the mutant's own optimizations make is allowed. */
const NOISE = 10;

async function compared(path: string, { output, bytes }: Rewritten, original: Original): Promise<Verdict> {
  const record = readRecord(output.model);
  if (!record) return found('error', 'the rewritten model has no record', 'no record');
  const feeds = doubleFeeds(original.feeds, doubledInputs(record), 'both');
  let given: Tensors;
  try {
    const all = await withSession(bytes, RUN, (session) => session.run(feeds));
    given = halveOutputs(all, doubledOutputs(output.model, record));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return found('refused by ONNX Runtime', reason, reason);
  }
  const source = load(parseModel(readFileSync(path)));
  const { sites } = findPrepared(source, passes);
  const maps = outputsOfMaps(
    new Map(
      sites.flatMap((site) => (site.core.kind === 'written-out' ? [[site.core.probabilities, site]] : [])),
    ),
  );
  const precision = precisionOf(source);
  for (const [name, expected] of Object.entries(original.outputs)) {
    if (maps.has(name)) continue;
    const { atol, rtol } = toleranceWithin(precision, expected.dtype);
    const size = toFloat64(expected).reduce(
      (most, each) => (Number.isFinite(each) ? Math.max(most, Math.abs(each)) : most),
      0,
    );
    const { mismatch, maxAbs, nanMismatches } = compareTensors(expected, given[name]);
    if (mismatch !== undefined) return found('wrong', `output '${name}': ${mismatch}`, 'mismatch');
    if (nanMismatches > 0) return found('wrong', `output '${name}': NaN in ${nanMismatches} places`, 'NaN');
    const least = atol + rtol * size;
    const allowed = maxAbs > least ? least + NOISE * (await noiseOf(original, name)) : least;
    if (maxAbs > allowed)
      return found('wrong', `output '${name}' is off by ${maxAbs}, ${allowed} is allowed`, 'differs');
  }
  return { outcome: 'rewritten' };
}
