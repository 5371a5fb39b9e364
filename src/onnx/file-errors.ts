/** What the file system refuses, as errors of the user's. */
import { DiffxError, errors } from '../errors';

const REASONS: Partial<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space left on device',
  EDQUOT: 'the disk quota is used up',
  ENOENT: 'the folder does not exist',
  EPIPE: 'whoever read it has gone away',
  ENOTDIR: 'a part of the path is no folder',
  EISDIR: 'it is a folder',
  ELOOP: 'links lead to one another in a circle',
  ENAMETOOLONG: 'the name is too long',
  EMFILE: 'too many files are open',
  ENFILE: 'too many files are open',
  ENOMEM: 'not enough memory',
  EFBIG: 'the file is too large for the file system',
  ERR_INVALID_ARG_VALUE: 'no file can have this name',
};

/** Why the file system refused something, in words. */
export function reasonOf(error: unknown): string {
  const { code = '', message } = error as NodeJS.ErrnoException;
  return REASONS[code] ?? message;
}

/** True for what the file system refuses; other errors are faults of ours. */
function isRefusal(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  if (error instanceof DiffxError || typeof code !== 'string') return false;
  return !code.startsWith('ERR_') || code in REASONS;
}

/** What Node and V8 call it when something has run out; some have a code, and some a message alone. */
const SHORTAGES: readonly (readonly ['noMemory' | 'noFileHandles', RegExp])[] = [
  ['noFileHandles', /\b(EMFILE|ENFILE)\b/],
  [
    'noMemory',
    /\b(ENOMEM|ERR_WORKER_OUT_OF_MEMORY|ERR_STRING_TOO_LONG|ERR_BUFFER_TOO_LARGE|ERR_MEMORY_ALLOCATION_FAILED)\b|^Array buffer allocation failed$|^Invalid string length$|maximum size exceeded$/,
  ],
];

/** The error of the user's for what has run out, memory or file handles; undefined for everything else. */
export function shortage(error: unknown, where: string): DiffxError | undefined {
  if (!(error instanceof Error) || error instanceof DiffxError) return undefined;
  const { code = '', message } = error as NodeJS.ErrnoException;
  // Node's own words for a thread that does not start: the code is in the message.
  const says = code === 'ERR_WORKER_INIT_FAILED' ? [code, ...message.split(' ')] : [String(code), message];
  const [name] = SHORTAGES.find(([, pattern]) => says.some((each) => pattern.test(each))) ?? [];
  return name && errors[name](where);
}

function refuseShortage(error: unknown, where: string): void {
  const short = shortage(error, where);
  if (short) throw short;
}

/**
 * Runs one step that writes to a target.
 * @throws unwritable, noMemory, noFileHandles
 */
export function writing<T>(target: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    refuseShortage(error, target);
    throw isRefusal(error) ? errors.unwritable(target, reasonOf(error)) : error;
  }
}

/**
 * Runs one step that reads a file or a folder.
 * @throws fileNotFound, notAFile, unreadable, noMemory, noFileHandles
 */
export function reading<T>(path: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    refuseShortage(error, path);
    if (!isRefusal(error)) throw error;
    switch ((error as NodeJS.ErrnoException).code) {
      case 'ENOENT':
      case 'ENOTDIR':
        throw errors.fileNotFound(path);
      case 'EISDIR':
        throw errors.notAFile(path);
      default:
        throw errors.unreadable(path, reasonOf(error));
    }
  }
}

/** True where something lies deeper in itself than the stack allows; V8 has no other name for it. */
export function isTooDeep(error: unknown): boolean {
  return error instanceof RangeError && error.message === 'Maximum call stack size exceeded';
}
