/** Which results are right: rewritten and verified, or refused for a reason that is known. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { FIXTURES } from '../support/fixtures';
import { type ExportResult, MODES, type Mode } from './result';

/** A refusal that is right, and why. */
export interface Refusal {
  /** Name of an export, or of several, with `*` for any letters. */
  readonly export: string;
  /** Code in the modes `zero` and `preserve`, and in `split` unless that has one of its own. */
  readonly code?: string;
  readonly split?: string;
  readonly why: string;
  /** The source calls something attention that is none by the rule of SPEC section 3, or more than is counted. */
  readonly uncounted?: boolean;
}

/** Those of the repository, and of `refusals.json` in each folder that has one. */
export function readRefusals(folders: readonly string[]): Refusal[] {
  const files = [FIXTURES, ...folders]
    .map((folder) => path.join(folder, 'refusals.json'))
    .filter(fs.existsSync);
  return files.flatMap((file): Refusal[] => JSON.parse(fs.readFileSync(file, 'utf8')));
}

export function concerns(refusal: Refusal, name: string): boolean {
  const parts = refusal.export.split('*').map((part) => part.replace(/[^\w]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(path.basename(name));
}

/** What is not as it should be, one line each. */
export function faultsOf(result: ExportResult, refusals: readonly Refusal[]): string[] {
  const known = refusals.filter((refusal) => concerns(refusal, result.name));
  if (result.unusable !== undefined) return [`does not run: ${result.unusable}`];
  const faults = MODES.flatMap((mode) => faultOf(result, mode, known));
  const { calls, candidates, references } = result;
  if (calls !== undefined && calls > candidates && !known.some(({ uncounted }) => uncounted))
    faults.push(`${calls} attentions in the source, ${candidates} counted`);
  for (const { kind, passed, detail } of references)
    if (!passed) faults.push(`reference ${kind}: ${detail ?? 'not compared'}`);
  return faults;
}

function faultOf(result: ExportResult, mode: Mode, known: readonly Refusal[]): string[] {
  const { outcome, code, rewritten, detail = '' } = result.modes[mode];
  if (outcome === 'verified')
    return rewritten === result.candidates ? [] : [`${mode}: ${rewritten} of ${result.candidates} rewritten`];
  if (outcome !== 'refused') return [`${mode}: ${outcome}: ${detail}`];
  const expected = known.some((each) => (mode === 'split' ? (each.split ?? each.code) : each.code) === code);
  return expected ? [] : [`${mode}: refused: ${detail}`];
}
