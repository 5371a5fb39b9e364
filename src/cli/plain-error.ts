import { DiffxError, errors } from '../errors';
import type { PlainError } from './job';

/** Any error as plain data; what is no DiffxError is a bug of ours. */
export function plainError(error: unknown): PlainError {
  const stack = error instanceof Error ? error.stack : undefined;
  const known =
    error instanceof DiffxError
      ? error
      : errors.internal(error instanceof Error ? error.message : String(error));
  const { code, message, remedy, exitCode } = known;
  return { code, message, remedy, exitCode, stack };
}
