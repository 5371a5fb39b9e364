import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { performance } from 'node:perf_hooks';
import type { Before } from '../../api/debug';
import { describeMiss, examine } from '../../api/inspect';
import { type RewriteOutput, rewriteModel, rewrittenBytes, writeRewritten } from '../../api/rewrite';
import { rewrittenParts, unwrittenParts } from '../../api/rewritten-parts';
import { type WeightsFile, weightsOf } from '../../api/weights';
import { ExitCode } from '../../errors';
import { checkTargets, isStream, memoryBytes, type Output, readModel, writeFiles } from '../../onnx';
import { writing } from '../../onnx/file-errors';
import { makeFolders, removeFolders, temporaryFolder } from '../../onnx/folders';
import { type DebugReport, debugText } from '../../report/debug';
import { describeLayer, parametersAdded } from '../../report/differential';
import { type RewriteReport, rewriteText } from '../../report/rewrite';
import { verificationText } from '../../report/verification-text';
import { weightsReport } from '../../report/weights';
import { startRuntime } from '../../runtime';
import type { VerifyReport } from '../../verify/report';
import type { VerifySettings } from '../../verify/verify';
import { dumper } from '../dumps';
import { type HtmlReport, htmlReportOf, shownError } from '../html-report';
import type { JobResult, RewriteJob } from '../job';
import { plainError } from '../plain-error';
import { serve, type Ui } from '../serve';
import { Stage } from '../stage';
import { writeToStandardOutput } from '../standard-output';
import { verdict } from '../verdict';
import { warningsOf } from '../warnings';
import { wrote } from '../wrote';

serve<'rewrite'>(async (job, ui) => {
  const started = performance.now();
  const afterPass = dumper(job, ui);
  const toFile = job.output !== '-' && !isStream(job.output);
  const targets = [
    ...(toFile ? [job.output] : []),
    ...(job.saveWeights === undefined ? [] : [job.saveWeights]),
    ...(job.config ? [job.config.path] : []),
    ...(job.report === undefined ? [] : [job.report]),
  ];
  checkTargets(targets, job.force);
  const html = htmlReportOf(job, job.makeFolder ? path.dirname(job.output) : undefined);
  // It starts while the model is rewritten.
  if (job.verify || job.debug) startRuntime();
  const before = job.debug ? await lookBefore(job, ui) : undefined;
  ui.phase(`rewriting ${job.input}`);
  html?.phase('reading and rewriting');
  const output = await withReport(html, job, ui, () =>
    rewriteModel(job.input, { ...job, ...(afterPass ? { afterPass } : {}) }),
  );
  html?.phase('looking at the original, for this page');
  // Opened before anything is written: the output may take the place of the input.
  const original = html && examine(job.input);
  const report = reportOf(output, job);
  const saved = weightsToSave(output, job);
  const beside = [...(saved ? [saved.output] : []), ...(job.config ? [textOutput(job.config)] : [])];
  html?.phase(job.verify ? 'writing and verifying' : 'writing');
  const verification = await inFolder(job, () =>
    job.verify ? writeVerified(output, job, toFile, beside, ui) : write(output, job, beside, ui),
  );
  if (verification?.passed === false) {
    const result = refused(job, verification, ui);
    const error = result.error && shownError(result.error);
    const rewritten = html && unwrittenParts(output);
    await html?.write({ ...subjectOf(job), original, rewritten, verification, error }, ui);
    return { ...result, text: [...result.text, ...wrote(job.report, ui.style)] };
  }
  const warnings = [...(job.warnings ?? []), ...warningsOf(output, job.weights)];
  for (const warning of warnings) ui.warn(warning);
  const done: RewriteReport = {
    ...report,
    bytes: toFile ? sizeOf(job.output) : rewrittenBytes(output).length,
    saved: saved?.saved ?? null,
    config: job.config?.path ?? null,
    milliseconds: Math.round(performance.now() - started),
  };
  const rewritten = html && (toFile ? rewrittenParts(job.output) : unwrittenParts(output));
  await html?.write({ ...subjectOf(job), original, rewritten, rewrite: done, verification, warnings }, ui);
  const debug = before && (await lookAfter(output, job, toFile, before, ui));
  return {
    document: { ...done, verification: verification ?? null, ...(debug ? { debug } : {}) },
    text: [
      ...rewriteText(done, ui),
      ...(verification ? verificationText(verification, ui) : []),
      ...(debug ? debugText(debug, ui.style) : []),
      ...wrote(job.report, ui.style),
    ],
    outputTaken: job.output === '-',
  };
});

function subjectOf({ input, output }: RewriteJob): { command: 'rewrite'; subject: string } {
  return { command: 'rewrite', subject: output === '-' ? input : output };
}

/** What was not understood is said in the report as well: it is what the report is asked for then. */
async function withReport<T>(
  html: HtmlReport | undefined,
  job: RewriteJob,
  ui: Ui,
  step: () => T,
): Promise<T> {
  try {
    return step();
  } catch (error) {
    const shown = shownError(plainError(error));
    if (html && shown.exitCode === ExitCode.unrewritten)
      await html.write({ ...subjectOf(job), original: examine(job.input), error: shown }, ui);
    throw error;
  }
}

/** What a target is called that is no file. */
const STANDARD_OUTPUT = 'standard output';

/** Before anything is written: the output may take the place of the input. */
async function lookBefore({ input }: RewriteJob, ui: Ui): Promise<Before> {
  ui.phase(`running ${input}`);
  const { debugBefore } = await import('../../api/debug.js');
  return debugBefore(input);
}

async function lookAfter(
  output: RewriteOutput,
  job: RewriteJob,
  toFile: boolean,
  before: Before,
  ui: Ui,
): Promise<DebugReport> {
  ui.phase(`running ${job.output}`);
  const { debugAfter } = await import('../../api/debug.js');
  if (toFile) return debugAfter(job.output, before);
  // The folder goes with the process.
  const stage = new Stage(path.join(temporaryFolder('debug'), path.basename(job.input)), STANDARD_OUTPUT);
  return stage.try((copy) => {
    writeRewritten(output, copy, false);
    return debugAfter(copy, before);
  });
}

function textOutput({ path: target, text }: { path: string; text: string }): Output {
  return { path: target, bytes: memoryBytes(Buffer.from(text)) };
}

/** Makes the folder of the output, and takes it away again where nothing comes of it. */
async function inFolder<T extends VerifyReport | undefined>(
  { makeFolder, output }: RewriteJob,
  step: () => Promise<T> | T,
): Promise<T> {
  const made = makeFolder ? newFolder(path.dirname(output)) : undefined;
  let done = false;
  try {
    const result = await step();
    done = result?.passed !== false;
    return result;
  } finally {
    if (made !== undefined && !done) removeFolders(path.dirname(output), made);
  }
}

/** The first folder that had to be made; undefined where it was there. */
function newFolder(folder: string): string | undefined {
  return writing(folder, () => makeFolders(folder));
}

function weightsToSave(output: RewriteOutput, job: RewriteJob): WeightsFile | undefined {
  const { saveWeights, stripPrefix } = job;
  if (saveWeights === undefined) return undefined;
  return weightsOf(output, saveWeights, stripPrefix === undefined ? {} : { stripPrefix });
}

/** @param beside files that appear with the model */
function write(output: RewriteOutput, job: RewriteJob, beside: readonly Output[], ui: Ui): undefined {
  ui.phase(`writing ${job.output}`);
  for (const { path: file } of beside) ui.usesFolder(path.dirname(file));
  if (job.output === '-') {
    writeFiles(beside, job.force, () => writeToStandardOutput(rewrittenBytes(output)));
    return;
  }
  ui.usesFolder(path.dirname(job.output));
  writeRewritten(output, job.output, job.force, beside);
}

/** The output appears when it has been verified, or not at all. */
async function writeVerified(
  output: RewriteOutput,
  job: RewriteJob,
  toFile: boolean,
  beside: readonly Output[],
  ui: Ui,
): Promise<VerifyReport> {
  const target = toFile ? job.output : path.join(tmpdir(), path.basename(job.input));
  ui.usesFolder(path.dirname(target));
  const stage = new Stage(target, toFile ? target : STANDARD_OUTPUT);
  try {
    ui.phase(`writing ${job.output}`);
    await stage.try((staged) => writeRewritten(output, staged, false));
    ui.phase(`verifying ${job.output}`);
    // Loaded here: ONNX Runtime is not needed without --verify.
    const { verifyModels } = await import('../../api/verify.js');
    const found = await stage.try((staged) => verifyModels(job.input, staged, settingsOf(job)));
    const report = { ...stage.named(found), rewritten: job.output };
    if (!report.passed) return report;
    if (toFile) {
      stage.publish(job.force, beside);
    } else {
      write(output, job, beside, ui);
    }
    return report;
  } finally {
    stage.discard();
  }
}

function settingsOf({ ep, requireEp, inputs }: RewriteJob): VerifySettings {
  return {
    ...(ep ? { ep } : {}),
    ...(requireEp ? { requireEp } : {}),
    ...(inputs === undefined ? {} : { inputs }),
  };
}

function refused(job: RewriteJob, verification: VerifyReport, ui: Ui): JobResult {
  const { input, output } = job;
  const remedy =
    'This is a bug of diffx: please report it with the model. Without --verify it is written all the same.';
  return {
    document: { input, output, verification },
    text: verificationText(verification, ui),
    outputTaken: output === '-',
    error: plainError(verdict(verification, output, '; nothing written', remedy)),
  };
}

/** What is known when all is written. */
type Measured = 'bytes' | 'saved' | 'config' | 'milliseconds';

/** Worked out before anything is written: the output may take the place of the input. */
function reportOf(output: RewriteOutput, job: RewriteJob): Omit<RewriteReport, Measured> {
  const { model, layers, found, left, notChosen, weights, options } = output;
  return {
    input: job.input,
    output: job.output,
    options: { ...options, layers: options.layers?.text },
    found: found.analysis.candidates.length,
    layers: layers.map((layer) => describeLayer(model, layer)),
    left: left.map(describeMiss),
    notChosen: notChosen.map((site) => site.path),
    parametersAdded: parametersAdded(model, layers),
    weights: weights && job.weights !== undefined ? weightsReport(job.weights, weights) : null,
  };
}

/** Size of a model with its side files. */
function sizeOf(file: string): number {
  const model = readModel(file);
  return model.externalFiles.reduce((all, location) => all + model.sideFile(location).length, model.size);
}
