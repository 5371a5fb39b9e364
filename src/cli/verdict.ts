import { type DiffxError, errors } from '../errors';
import { firstFinding } from '../report/verification-text';
import { isUnproven, type VerifyReport } from '../verify/report';

/**
 * The error of a verification that did not pass: exit 4 where all numbers are right but not everything ran where it was
 * asked to.
 * @param consequence is added to what was found
 * @param remedy where something is wrong
 */
export function verdict(report: VerifyReport, path: string, consequence: string, remedy: string): DiffxError {
  const what = `${firstFinding(report)}${consequence}`;
  const failed = report.checks.filter(({ passed }) => !passed);
  if (failed.length > 0 && failed.every(isUnproven))
    return errors.verificationIncomplete(path, what, MORE_INPUTS);
  return failed.every(({ name }) => name === 'placement')
    ? errors.notPlaced(path, what)
    : errors.verificationFailed(path, what, remedy);
}

const MORE_INPUTS =
  'Nothing wrong was seen. Give inputs that show more with --inputs file.safetensors; without verification it is written all the same.';
