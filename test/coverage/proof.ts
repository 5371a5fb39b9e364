/** Rewrites one export and has `diffx verify` prove it on an execution provider: is there a false alarm? */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { rewriteModel, writeRewritten } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { DiffxError } from '../../src/errors';
import type { Check, VerifyReport } from '../../src/verify/report';
import { temporaryFolder } from '../support/fixtures';
import { codesOf, REFUSALS, type Rewrite, SETTINGS } from './measure';
import type { Mode } from './result';
import { type Opened, open, type Source } from './sources';

export type Verdict =
  /** Every check passed there. */
  | 'proven'
  /** A check failed there that fails in the original as well, or the original does not run. */
  | 'original'
  /** Not rewritten; the reason is in `code`. */
  | 'refused'
  /** A check failed though the rewrite is right as far as anybody knows. */
  | 'alarm'
  /** An internal error. */
  | 'broken';

export interface Proof {
  readonly verdict: Verdict;
  readonly code?: string;
  /** What failed, or why nothing was tried, in one line. */
  readonly detail?: string;
}

/** What became of one export in each mode that was asked for. */
export interface ProvenExport {
  readonly name: string;
  readonly modes: Readonly<Partial<Record<Mode, Proof>>>;
}

export interface ProofSettings {
  /** As `--ep` takes it. */
  readonly ep: string;
  readonly modes: readonly Mode[];
}

export async function prove(
  source: Source,
  { ep, modes }: ProofSettings,
  rewrite: Rewrite = rewriteModel,
): Promise<ProvenExport> {
  const opened = open(source);
  const proofs: Partial<Record<Mode, Proof>> = {};
  for (const mode of modes) proofs[mode] = await proveMode(opened, ep, mode, rewrite);
  return { name: source.name, modes: proofs };
}

async function proveMode({ model, io }: Opened, ep: string, mode: Mode, rewrite: Rewrite): Promise<Proof> {
  const folder = fs.mkdtempSync(path.join(temporaryFolder(), 'proof-'));
  const rewritten = path.join(folder, 'rewritten.onnx');
  try {
    writeRewritten(rewrite(model, SETTINGS[mode]), rewritten, true);
    return judged(await verified(model, rewritten, ep, io));
  } catch (error) {
    if (!(error instanceof DiffxError))
      return {
        verdict: 'broken',
        detail: error instanceof Error ? (error.stack ?? error.message) : `${error}`,
      };
    const { code, message: detail } = error;
    if (REFUSALS.includes(code)) return { verdict: 'refused', code: codesOf(error), detail };
    return { verdict: NOT_THE_REWRITE.includes(code) ? 'original' : 'broken', code, detail };
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** What verification throws where it is the original that does not run. */
const NOT_THE_REWRITE = ['no-case-runs', 'runtime-refused', 'runtime-ended'];

/** With inputs made from the graph; with the stored ones, where the original runs with none that are made. */
async function verified(model: string, rewritten: string, ep: string, io: string | undefined) {
  try {
    return await verifyModels(model, rewritten, { ep });
  } catch (error) {
    const noInputs = error instanceof DiffxError && error.code === 'no-case-runs';
    if (!noInputs || io === undefined) throw error;
    return verifyModels(model, rewritten, { ep, inputs: io });
  }
}

/** Outputs that are not those of the CPU are not those of the original either. */
const FOLLOW_FROM_PROVIDERS: readonly string[] = ['function', 'overflow', 'mix'];

/** A provider on which the original fails in the same way says nothing of the rewrite; the CPU has no such excuse. */
export function judged({ checks }: Pick<VerifyReport, 'checks'>): Proof {
  const failed = checks.filter(({ passed }) => !passed);
  if (failed.length === 0) return { verdict: 'proven' };
  const isInOriginal = ({ provider, findings }: Check) =>
    provider !== undefined && findings.some(({ inOriginal }) => inOriginal === true);
  const outputsAre = failed.some((check) => check.name === 'providers' && isInOriginal(check));
  const isExcused = (check: Check) =>
    isInOriginal(check) ||
    (check.provider !== undefined && outputsAre && FOLLOW_FROM_PROVIDERS.includes(check.name));
  const unexcused = failed.filter((check) => !isExcused(check));
  const [first] = unexcused.length > 0 ? unexcused : failed;
  const finding = first?.findings.find(({ inOriginal }) => inOriginal === true) ?? first?.findings[0];
  const detail = `${first?.name}: ${finding?.message ?? 'nothing was compared'}`;
  return { verdict: unexcused.length > 0 ? 'alarm' : 'original', detail };
}
