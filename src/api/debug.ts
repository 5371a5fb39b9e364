import { performance } from 'node:perf_hooks';
import { readRecord } from '../attention/record';
import { DiffxError, ExitCode, errors } from '../errors';
import { load, type Model } from '../ir';
import { readModel } from '../onnx';
import {
  type DebugDecoding,
  type DebugReport,
  type DebugSide,
  tokensMatch,
  totalBytes,
} from '../report/debug';
import { keepsFunction } from '../rewrite/options';
import { startRuntime } from '../runtime';
import { mixFeed, type Tensors } from '../verify/bench';
import { type CaseRun, runOriginal } from '../verify/case-runs';
import { compareTensors } from '../verify/compare';
import { type Decoding, decodeGreedily, type NotDecoded } from '../verify/decode';
import { type KnownInputs, knownAfterRewrite, knownInputs } from '../verify/input-roles';
import { doubledInputs, doubledOutputs, doubleFeeds } from '../verify/key-caches';
import { precisionOf, toleranceWithin } from '../verify/precision';
import { type Session, withSession } from '../verify/session';
import { inspectModel } from './inspect';

/** A model as it was before a rewrite, and what it gave. */
export interface Before {
  readonly side: DebugSide;
  /** One set of inputs with what came out. */
  readonly run: CaseRun | undefined;
  readonly failure: string | undefined;
  readonly decoding: Decoding | NotDecoded;
  /** What its inputs are for; undefined where it does not run. */
  readonly known: KnownInputs | undefined;
}

/** Length of the inputs that are run: a short sentence. */
const LENGTH = 8;

/**
 * Looks at a model before it is rewritten: sizes, one timed run, and 20 tokens where it is a decoder.
 * @throws DiffxError for models that cannot be read
 */
export async function debugBefore(path: string): Promise<Before> {
  startRuntime();
  const model = load(readModel(path));
  try {
    return await withSession(path, { refusedExitCode: ExitCode.usage }, async (session) => {
      const [run] = await runOriginal(model, session, { batches: [1], lengths: [LENGTH] }, []);
      if (!run) throw errors.noCaseRuns(path, 'there are none');
      const milliseconds = await timed(session, run.feeds);
      const known = knownInputs(model, session.inputs);
      return {
        side: sideOf(path, milliseconds),
        run,
        failure: undefined,
        decoding: await decodeGreedily(model, session, known),
        known,
      };
    });
  } catch (error) {
    const failure = messageOf(error);
    const decoding = { notDecoded: failure };
    return { side: sideOf(path, null), run: undefined, failure, decoding, known: undefined };
  }
}

/**
 * Looks at what became of it, and compares.
 * @throws DiffxError for models that diffx has not written
 */
export async function debugAfter(path: string, before: Before): Promise<DebugReport> {
  const model = load(readModel(path));
  const record = readRecord(model);
  if (!record) throw errors.notRewritten(path);
  const loaded = Object.keys(record.loaded).length > 0;
  const matchExpected = keepsFunction(record.options) && !loaded;
  const report = { before: before.side, matchExpected, because: reason(record.options, loaded) };
  const { run, known } = before;
  const nothing = { inputs: null, outputs: {}, match: null, decoding: null };
  if (!run || !known) {
    const failure = before.failure ?? '';
    return { ...report, ...nothing, after: sideOf(path, null), notRun: failure, notDecoded: failure };
  }
  try {
    return await withSession(path, {}, async (session) => {
      const feeds = {
        ...doubleFeeds(run.feeds, doubledInputs(record), 'both'),
        ...(record.options.mixInput ? mixFeed(1) : {}),
      };
      const given = await session.run(feeds);
      const after = sideOf(path, await timed(session, feeds));
      const doubled = new Set(doubledOutputs(model, record).map(({ name }) => name));
      const outputs = compared(model, run.outputs, given, doubled);
      const inputs = knownAfterRewrite(known, session.inputs);
      const decoded = decodingOf(before.decoding, await decodeGreedily(model, session, inputs));
      const match = Object.values(outputs).every((each) => each.match);
      return { ...report, ...decoded, after, inputs: run.where, outputs, match, notRun: null };
    });
  } catch (error) {
    const failure = messageOf(error);
    return { ...report, ...nothing, after: sideOf(path, null), notRun: failure, notDecoded: failure };
  }
}

function messageOf(error: unknown): string {
  if (!(error instanceof DiffxError)) throw error;
  return error.message;
}

/** The second run: the first one warms up. */
async function timed(session: Session, feeds: Tensors): Promise<number> {
  const started = performance.now();
  await session.run(feeds);
  return performance.now() - started;
}

function sideOf(path: string, milliseconds: number | null): DebugSide {
  const { file, attentions, differential } = inspectModel(path);
  const own = differential?.by === 'diffx' ? differential.layers.length : attentions.length;
  return {
    nodes: file.nodes,
    parameters: file.parameters,
    bytes: totalBytes(file.size, file.sideFiles),
    attentions: own,
    milliseconds,
  };
}

/** Outputs that were there before, save for caches that hold twice the heads now. */
function compared(
  model: Model,
  before: Tensors,
  after: Tensors,
  doubled: ReadonlySet<string>,
): DebugReport['outputs'] {
  const precision = precisionOf(model);
  return Object.fromEntries(
    Object.entries(before).flatMap(([name, expected]) => {
      if (doubled.has(name)) return [];
      const tolerance = toleranceWithin(precision, expected.dtype);
      const { maxAbs, passed } = compareTensors(expected, after[name], tolerance);
      return [[name, { maxAbs, match: passed }]];
    }),
  );
}

function decodingOf(
  before: Decoding | NotDecoded,
  after: Decoding | NotDecoded,
): { decoding: DebugDecoding | null; notDecoded: string | null } {
  if ('notDecoded' in before) return { decoding: null, notDecoded: before.notDecoded };
  if ('notDecoded' in after) return { decoding: null, notDecoded: `after the rewrite, ${after.notDecoded}` };
  const decoding = {
    prompt: before.prompt,
    before: before.tokens,
    after: after.tokens,
    cached: [before.cached, after.cached] as const,
    match: tokensMatch(before.tokens, after.tokens),
  };
  return { decoding, notDecoded: null };
}

type Options = Parameters<typeof keepsFunction>[0];

/** Why the rewritten model computes what the original does, or why it need not. */
function reason({ init, sublayerNorm, heads }: Options, loaded: boolean): string {
  if (loaded) return 'weights of a checkpoint were loaded';
  if (heads === 'split') return 'split heads change what the model computes';
  if (sublayerNorm)
    return 'the norm behind the attention changes what the model computes (--no-sublayer-norm)';
  if (init === 'random') return 'the new weights are random (--init preserve keeps what the model computes)';
  if (init === 'mirror')
    return 'mirrored weights scale the attention by 1 - lambda (--init preserve does not)';
  return `--init ${init} without a norm keeps what the model computes`;
}
