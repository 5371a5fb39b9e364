import { runJob } from '../cli/run-job';
import { printable } from '../report/printable';
import { verificationText } from '../report/verification-text';
import type { VerifyReport } from '../verify/report';
import type { Requirement } from '../verify/requirement';

/** What a matcher may be told, as the options of `diffx verify`. */
export interface VerificationOptions {
  /** Execution provider or several, such as `cuda` or `cuda:1`. Default cpu. */
  readonly ep?: string | readonly string[];
  /** What must run on it: all nodes, or all but shape arithmetic. Default compute. */
  readonly requireEp?: Requirement;
  /** Largest absolute difference. Default: by element type and provider. */
  readonly atol?: number;
  /** The same in units of the value. */
  readonly rtol?: number;
  /** Safetensors file with the inputs to run. Default: made from the graph. */
  readonly inputs?: string;
  /** Safetensors file with inputs and outputs that were recorded. */
  readonly against?: string;
  /** Of the inputs that are made. Default 0. */
  readonly seed?: number;
}

/** What jest and vitest want of a matcher. */
export interface MatcherResult {
  readonly pass: boolean;
  readonly message: () => string;
}

/**
 * Runs a verification in a thread of its own: test runners have typed arrays of their own, which ONNX Runtime refuses.
 * @throws Error with what is wrong and what to do about it, for models that cannot be verified at all
 */
export async function verification(
  original: string,
  rewritten: string,
  { ep, ...options }: VerificationOptions = {},
): Promise<VerifyReport> {
  const silent = () => undefined;
  const outcome = await runJob(
    'verify',
    { original, rewritten, force: false, ...options, ...(ep === undefined ? {} : { ep: [ep].flat() }) },
    { width: undefined, colour: false },
    { phase: silent, warning: silent, dump: silent, folder: silent },
  );
  if (outcome.kind === 'failure')
    throw new Error(`${printable(outcome.error.message)}\n${printable(outcome.error.remedy)}`);
  return outcome.result.document as VerifyReport;
}

function told(report: VerifyReport, verdict: string): () => string {
  return () => [printable(verdict), '', ...verificationText(report)].join('\n');
}

function paths(matcher: string, rewritten: unknown, original: unknown): [string, string] {
  if (typeof rewritten !== 'string' || typeof original !== 'string')
    throw new TypeError(
      `${matcher}: expects paths of ONNX models, as in expect('model.diff.onnx').${matcher}('model.onnx')`,
    );
  return [rewritten, original];
}

/** Passes if diffx can prove that the one model is what its recorded options make of the other. */
export async function toBeRewriteOf(
  rewritten: unknown,
  original: unknown,
  options?: VerificationOptions,
): Promise<MatcherResult> {
  const [made, source] = paths('toBeRewriteOf', rewritten, original);
  const report = await verification(source, made, options);
  const verdict = report.passed
    ? `expected ${made} not to be a rewrite of ${source}, and it is one`
    : `expected ${made} to be a rewrite of ${source}`;
  return { pass: report.passed, message: told(report, verdict) };
}

/**
 * Passes if diffx can prove that the one model is a rewrite of the other, and that both give the same outputs: only rewrites
 * with options that keep the function do.
 */
export async function toBeEquivalentTo(
  rewritten: unknown,
  original: unknown,
  options?: VerificationOptions,
): Promise<MatcherResult> {
  const [made, source] = paths('toBeEquivalentTo', rewritten, original);
  const report = await verification(source, made, options);
  const compared = report.checks.some(({ name }) => name === 'function');
  const pass = report.passed && compared;
  const why = compared
    ? ''
    : ': it was rewritten with options that change the function. toBeRewriteOf proves such a rewrite layer by layer';
  const verdict = pass
    ? `expected ${made} not to be equivalent to ${source}, and it is`
    : `expected ${made} to be equivalent to ${source}${why}`;
  return { pass, message: told(report, verdict) };
}
