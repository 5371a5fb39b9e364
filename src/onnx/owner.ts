/**
 * Whose a temporary file is: its name says which process made it, so that the next run can tell what a killed one has
 * left from what a running one needs, and from what is the user's.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** A process, also after its end: numbers of processes are used again, together with the start they are not. */
export interface Owner {
  readonly pid: number;
  /** When it started, in ticks since the machine did; 0 where that cannot be known. */
  readonly start: number;
  /** Of the machine, or of the container, since process numbers are those of a namespace. */
  readonly machine: string;
}

const NAME = /^\.?diffx-(?:[a-z]+-)?(\d+)-(\d+)-([0-9a-f]{8})-[0-9a-zA-Z]+(?:\.\w+)?$/;

/** Who made a temporary file; undefined where no process of diffx did. */
export function ownerOf(name: string): Owner | undefined {
  const [, pid, start, machine] = NAME.exec(name) ?? [];
  if (pid === undefined || start === undefined || machine === undefined) return undefined;
  return { pid: Number(pid), start: Number(start), machine };
}

/** `running`, `ended`, or `elsewhere` where this process cannot know. */
export function stateOf({ pid, start, machine }: Owner): 'running' | 'ended' | 'elsewhere' {
  if (machine !== THIS.machine) return 'elsewhere';
  if (start === 0 || THIS.start === 0) return signalled(pid) ? 'running' : 'ended';
  return startOf(pid) === start ? 'running' : 'ended';
}

/** True for the process that asks. */
export function isOwn(owner: Owner | undefined): boolean {
  if (!owner) return false;
  const { pid, start, machine } = owner;
  return pid === THIS.pid && start === THIS.start && machine === THIS.machine;
}

/** When a process started; undefined where there is none, or one that has ended and that nobody has waited for. */
function startOf(pid: number): number | undefined {
  try {
    // `pid (name) state ...`: a name may hold anything.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    const [state = ''] = fields;
    return 'ZX'.includes(state) ? undefined : Number(fields[19]);
  } catch {
    return undefined;
  }
}

function signalled(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function machine(): string {
  let namespace = '';
  try {
    namespace = readlinkSync('/proc/self/ns/pid');
  } catch {
    // Only Linux has such.
  }
  return createHash('sha256').update(`${hostname()} ${namespace}`).digest('hex').slice(0, 8);
}

const THIS: Owner = { pid: process.pid, start: startOf(process.pid) ?? 0, machine: machine() };
const MARK = `${THIS.pid}-${THIS.start}-${THIS.machine}-`;

/** Temporary files of this process begin so, beside what they will be. */
export const TEMPORARY = `.diffx-${MARK}`;

/** A name for a temporary file that nothing has. */
export function temporaryName(): string {
  return `${TEMPORARY}${randomBytes(6).toString('hex')}`;
}

/**
 * What temporary folders of this process begin with, in the folder for them.
 * @param purpose a word in small letters
 */
export function temporaryPrefix(purpose: string): string {
  return `diffx-${purpose}-${MARK}`;
}
