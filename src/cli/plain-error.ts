import { DiffxError, errors } from '../errors';
import { shortage } from '../onnx/file-errors';
import type { PlainError } from './job';

/** Any error as plain data; what is no DiffxError is a bug of ours. */
export function plainError(error: unknown): PlainError {
  const stack = error instanceof Error ? error.stack : undefined;
  const known = error instanceof DiffxError ? error : unforeseen(error);
  const { code, message, remedy, exitCode } = known;
  return { code, message, remedy, exitCode, stack };
}

function unforeseen(error: unknown): DiffxError {
  // What asks for the working directory is anywhere: node's own resolution of paths does.
  if ((error as NodeJS.ErrnoException | undefined)?.syscall === 'uv_cwd')
    return errors.unreadable('.', 'the working directory does not exist any more');
  const short = shortage(error, 'diffx');
  if (short) return short;
  return errors.internal(error instanceof Error ? error.message : String(error));
}
