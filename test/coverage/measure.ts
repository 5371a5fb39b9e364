/** Measures one export: what is found in it, and what becomes of it in every mode. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { passes } from '../../passes';
import {
  type RewriteFileSettings,
  type RewriteOutput,
  rewriteModel,
  rewrittenBytes,
  writeRewritten,
} from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import type { LocatedSite } from '../../src/attention/find';
import { readRecord } from '../../src/attention/record';
import { DiffxError } from '../../src/errors';
import { load } from '../../src/ir';
import { readModel } from '../../src/onnx';
import { findPrepared } from '../../src/rewrite/prepare';
import { outputsOfMaps } from '../../src/verify/check-function';
import { compare } from '../../src/verify/compare';
import { doubledInputs, doubledOutputs, doubleFeeds, halveOutputs } from '../../src/verify/key-caches';
import { precisionOf } from '../../src/verify/precision';
import type { VerifyReport } from '../../src/verify/report';
import type { Tolerance } from '../../src/verify/tolerance';
import { openSafetensors } from '../../src/weights/checkpoint';
import { temporaryFolder } from '../support/fixtures';
import { readTensors, runModel, type Tensors } from '../support/run';
import { type Case, caseOf } from './feeds';
import type { ExportResult, Mode, ModeResult, ReferenceResult } from './result';
import { type Opened, open, referenceFor, type Source } from './sources';

/** Errors that say no to the model, not to diffx. */
export const REFUSALS = ['already-differential', 'no-attention', 'odd-heads', 'opset-too-old', 'unrewritten'];

export const SETTINGS: Readonly<Record<Mode, RewriteFileSettings>> = {
  zero: { init: 'zero', sublayerNorm: false },
  preserve: { init: 'preserve' },
  split: { splitHeads: true },
};

const REFERENCE_TOLERANCE = { atol: 2e-4, rtol: 0 };

const REFERENCES: Readonly<Record<string, (eps: number) => RewriteFileSettings>> = {
  'mirror-nonorm': () => ({ init: 'mirror', sublayerNorm: false }),
  'split-nonorm': () => ({ splitHeads: true, sublayerNorm: false }),
  'split-norm': (normEps) => ({ splitHeads: true, normEps }),
};

/** How a model is rewritten; tests put something else in its place. */
export type Rewrite = typeof rewriteModel;

/** Where nothing is run, what would be verified counts as verified. */
export async function measure(source: Source, rewrite: Rewrite = rewriteModel): Promise<ExportResult> {
  const opened = open(source);
  const { name } = source;
  const model = load(readModel(opened.model));
  const { analysis, sites } = findPrepared(model, passes);
  const calls = opened.io === undefined ? undefined : openSafetensors(opened.io).metadata['attentions'];
  const counts = {
    name,
    candidates: analysis.candidates.length,
    found: sites.length,
    ...(calls === undefined ? {} : { calls: Number(calls) }),
  };
  if (source.runs === false) {
    const only = (settings: RewriteFileSettings) =>
      attempt(
        () => rewrite(opened.model, settings),
        async () => ({ outcome: 'verified', error: undefined, detail: undefined }),
      );
    const modes = {
      zero: await only(SETTINGS.zero),
      preserve: await only(SETTINGS.preserve),
      split: await only(SETTINGS.split),
    };
    return { ...counts, modes, references: [] };
  }
  try {
    const given = await caseOf(opened, model);
    return {
      ...counts,
      modes: {
        zero: await keeping(opened, rewrite, SETTINGS.zero, given),
        preserve: await keeping(opened, rewrite, SETTINGS.preserve, withoutMaps(given, sites)),
        split: await proving(opened, rewrite, SETTINGS.split),
      },
      references: await againstReferences(opened, rewrite, given.tolerance),
    };
  } catch (error) {
    if (!(error instanceof DiffxError)) throw error;
    if (error.code === 'runtime-refused' && precisionOf(model) === 'bfloat16') {
      const proven = (mode: Mode) => proving(opened, rewrite, SETTINGS[mode]);
      const modes = {
        zero: await proven('zero'),
        preserve: await proven('preserve'),
        split: await proven('split'),
      };
      return { ...counts, modes, references: [] };
    }
    const none: ModeResult = { outcome: 'refused', rewritten: 0, code: error.code };
    const modes = { zero: none, preserve: none, split: none };
    return { ...counts, unusable: error.message, modes, references: [] };
  }
}

/** Attention maps among the outputs are differential ones in a rewritten model, unless lambda is 0. */
function withoutMaps(given: Case, sites: readonly LocatedSite[]): Case {
  const shown = sites.flatMap((site) =>
    site.core.kind === 'written-out' ? [[site.core.probabilities, site] as const] : [],
  );
  const maps = outputsOfMaps(new Map(shown));
  const outputs = Object.entries(given.outputs).filter(([name]) => !maps.has(name));
  return { ...given, outputs: Object.fromEntries(outputs) };
}

/** A rewrite that keeps the function: the outputs stay. */
async function keeping(
  { model }: Opened,
  rewrite: Rewrite,
  settings: RewriteFileSettings,
  given: Case,
): Promise<ModeResult> {
  return attempt(
    () => rewrite(model, settings),
    async (output) => {
      const { error, detail } = compared(given.outputs, await run(output, given.feeds), given.tolerance);
      return { outcome: detail === undefined ? 'verified' : 'wrong', error, detail };
    },
  );
}

/**
 * What `diffx verify` says: every layer is computed again in float64. For split heads, which give something else that no
 * output shows to be right, and for models that ONNX Runtime does not run as they are (bfloat16).
 */
async function proving(
  { model, io }: Opened,
  rewrite: Rewrite,
  settings: RewriteFileSettings,
): Promise<ModeResult> {
  return attempt(
    () => rewrite(model, settings),
    async (output) => {
      const rewritten = path.join(temporaryFolder(), 'proven.onnx');
      try {
        writeRewritten(output, rewritten, true);
        const { passed, checks } = await proven(model, rewritten, io);
        const findings = checks.flatMap((check) =>
          check.findings.map(({ message }) => `${check.name}: ${message}`),
        );
        return passed
          ? { outcome: 'verified' }
          : { outcome: 'wrong', detail: findings[0] ?? 'nothing was compared' };
      } finally {
        fs.rmSync(rewritten, { force: true });
      }
    },
  );
}

/** With inputs made from the graph; with the stored ones, where the original runs with none that are made. */
async function proven(model: string, rewritten: string, io: string | undefined): Promise<VerifyReport> {
  try {
    return await verifyModels(model, rewritten, { batches: [2], lengths: [5] });
  } catch (error) {
    const noInputs = error instanceof DiffxError && error.code === 'no-case-runs';
    if (!noInputs || io === undefined) throw error;
    return verifyModels(model, rewritten, { inputs: io });
  }
}

/** Where the export gives what the unchanged model gave in PyTorch: its rewrites must give what PyTorch gives then. */
async function againstReferences(
  { name, model }: Opened,
  rewrite: Rewrite,
  own: Tolerance,
): Promise<ReferenceResult[]> {
  const reference = referenceFor(name);
  if (!reference) return [];
  const tolerance = own.atol > REFERENCE_TOLERANCE.atol ? own : REFERENCE_TOLERANCE;
  const stored = readTensors(reference.io);
  if (!(await givesBase(model, stored, tolerance))) return [];
  const results: ReferenceResult[] = [];
  for (const [kind, settingsFor] of Object.entries(REFERENCES)) {
    const expected = startingWith(stored, `${kind}.`);
    if (Object.keys(expected).length === 0) continue;
    const settings = { ...settingsFor(reference.eps), weights: reference.lambda };
    const { outcome, error, detail } = await attempt(
      () => rewrite(model, settings),
      async (output) => {
        const actual = await run(output, startingWith(stored, 'input.'));
        const { error, detail } = compared(expected, actual, tolerance);
        return { outcome: detail === undefined ? 'verified' : 'wrong', error, detail };
      },
    );
    results.push(withoutUndefined({ kind, passed: outcome === 'verified', error, detail }));
  }
  return results;
}

/** Another export of the architecture may have other weights and inputs, or weights that were rounded. */
async function givesBase(model: string, stored: Tensors, tolerance: Tolerance): Promise<boolean> {
  try {
    const outputs = await runModel(model, startingWith(stored, 'input.'));
    return compared(startingWith(stored, 'base.'), outputs, tolerance).detail === undefined;
  } catch (error) {
    if (error instanceof DiffxError && error.code === 'feed-mismatch') return false;
    throw error;
  }
}

function startingWith(tensors: Tensors, prefix: string): Tensors {
  const entries = Object.entries(tensors).filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(entries.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
}

type Judged = Partial<Pick<ModeResult, 'error' | 'detail'>> & Pick<ModeResult, 'outcome'>;
type Verdict = { [key in keyof Judged]: Judged[key] | undefined } & Pick<ModeResult, 'outcome'>;

/** Rewrites, and has the result judged. */
async function attempt(
  rewrite: () => RewriteOutput,
  judge: (output: RewriteOutput) => Promise<Verdict>,
): Promise<ModeResult> {
  let rewritten = 0;
  try {
    const output = rewrite();
    rewritten = output.layers.length;
    return withoutUndefined({ rewritten, ...(await judge(output)) });
  } catch (error) {
    const known = error instanceof DiffxError;
    const detail =
      error instanceof Error ? (known ? error.message : (error.stack ?? error.message)) : String(error);
    if (known && rewritten === 0 && REFUSALS.includes(error.code))
      return { outcome: 'refused', rewritten, code: codesOf(error), detail };
    return { outcome: 'broken', rewritten, detail };
  }
}

/** Of an incomplete rewrite, why each attention was left. */
export function codesOf({ code, reasons }: DiffxError): string {
  return reasons.length === 0 ? code : [...new Set(reasons)].sort().join(', ');
}

/** Runs a rewritten model on the feeds of the original; what it caches has the original's shape again. */
async function run(output: RewriteOutput, feeds: Tensors): Promise<Tensors> {
  const record = readRecord(output.model);
  const bytes = rewrittenBytes(output).read();
  if (!record) throw new Error('the rewritten model has no record');
  const doubled = doubleFeeds(feeds, doubledInputs(record), 'both');
  return halveOutputs(await runModel(bytes, doubled), doubledOutputs(output.model, record));
}

/** Outputs that nothing is expected of are not looked at. */
function compared(expected: Tensors, given: Tensors, tolerance: Tolerance) {
  const actual = Object.fromEntries(Object.entries(given).filter(([name]) => name in expected));
  const { outputs } = compare(expected, actual, tolerance);
  const all = Object.entries(outputs);
  const error = Math.max(...all.map(([, { maxAbs }]) => maxAbs));
  const bad = all.find(([, { passed }]) => !passed);
  const detail =
    bad && `output '${bad[0]}': ${bad[1].mismatch ?? `differs by ${bad[1].maxAbs.toExponential(1)}`}`;
  return { error: Number.isFinite(error) ? error : undefined, detail };
}

/** Without the properties that are not set: the result is compared and written as JSON. */
function withoutUndefined<T extends object>(object: T): { [key in keyof T]: Exclude<T[key], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as never;
}
