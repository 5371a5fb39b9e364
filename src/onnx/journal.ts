/**
 * Several files that take their places together. Renames are single steps, and a process can be killed between two; so what
 * is to be done is written down first, in a file beside them. Who finds it there and its writer gone finishes what was
 * begun, or takes it back where that cannot be done. Every step looks at what is there, so all of it may be done again.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { errors } from '../errors';
import { writing } from './file-errors';
import { ownerOf, temporaryName } from './owner';

/** A file on its way, with paths relative to the journal's folder. */
export interface Entry {
  readonly target: string;
  /** Where the new file is until it takes its place. */
  readonly temporary: string;
  /** The new file's inode: by it one knows whether the target is it. */
  readonly inode: string;
  /** A second name of the file that was there before; undefined where there was none, or where it is not needed. */
  readonly previous?: string;
}

export interface Plan {
  readonly id: string;
  /** Whether files that are there are replaced. */
  readonly force: boolean;
  /** Set where it is taken back. */
  readonly undo?: true;
  readonly entries: readonly Entry[];
  /** Files in other folders that lead here, relative to the journal's folder. */
  readonly pointers?: readonly string[];
}

const ENDING = '.journal';
/** Stands in another folder of the same plan and leads to its journal. */
const POINTER = '.elsewhere';

export function isJournal(name: string): boolean {
  return name.endsWith(ENDING) || name.endsWith(POINTER);
}

/** A plan in a folder, and the file that it is written down in. */
export class Journal {
  private constructor(
    readonly folder: string,
    private plan: Plan,
    /** Undefined where nothing can be cut in two: then nothing is written down. */
    private readonly file: string | undefined,
    private readonly pointers: readonly string[],
    private readonly takenOver: boolean,
  ) {}

  /** Writes a plan down. From here on it will be carried out, by whomever. */
  static begin(folder: string, plan: Plan): Journal {
    if (plan.entries.length < 2) return new Journal(folder, plan, undefined, [], false);
    const file = path.join(folder, `${temporaryName()}${ENDING}`);
    const folders = new Set(plan.entries.map(({ target }) => path.dirname(path.join(folder, target))));
    folders.delete(path.normalize(folder));
    const pointers = [...folders].map((other) => path.join(other, `${temporaryName()}${POINTER}`));
    const whole = { ...plan, pointers: pointers.map((pointer) => path.relative(folder, pointer)) };
    const journal = new Journal(folder, whole, file, pointers, false);
    try {
      for (const pointer of pointers)
        put(pointer, { id: plan.id, leadsTo: path.relative(path.dirname(pointer), folder) });
      put(file, whole);
    } catch (error) {
      journal.end();
      throw error;
    }
    return journal;
  }

  /**
   * Takes over a journal whose writer is gone.
   * @throws what the file system says; ENOENT where somebody else was faster
   */
  static takeOver(file: string): Journal {
    const folder = path.dirname(file);
    const plan = read(file) as Plan;
    const own = path.join(folder, `${temporaryName()}${ENDING}`);
    fs.renameSync(file, own);
    const pointers = (plan.pointers ?? []).map((pointer) => path.join(folder, pointer));
    return new Journal(folder, plan, own, pointers, true);
  }

  /** Whether another plan is being carried out in this folder: then one of the two must wait. */
  get isAlone(): boolean {
    const file = this.file;
    if (file === undefined) return true;
    return !fs
      .readdirSync(this.folder === '' ? '.' : this.folder)
      .some((name) => name.endsWith(ENDING) && name !== path.basename(file) && ownerOf(name) !== undefined);
  }

  /** Takes away what was written down, before anything was done. */
  withdraw(): void {
    if (this.file !== undefined) fs.rmSync(this.file, { force: true });
    for (const pointer of this.pointers) fs.rmSync(pointer, { force: true });
  }

  /**
   * Carries the plan out.
   * @throws exists where a file is there that was not, unwritable
   */
  finish(): void {
    if (this.plan.undo) {
      this.undo();
      return;
    }
    for (const { target, temporary, inode } of this.plan.entries) {
      const [from, to] = [this.#at(temporary), this.#at(target)];
      writing(to, () => {
        // What has been moved is in its place.
        if (inodeOf(from) !== inode) return;
        if (this.plan.force) fs.renameSync(from, to);
        else if (inodeOf(to) !== inode) placeNew(from, to, this.takenOver);
      });
    }
  }

  /** Takes the plan back. */
  undo(): void {
    this.plan = { ...this.plan, undo: true };
    if (this.file !== undefined) put(this.file, this.plan);
    for (const { target, temporary, inode, previous } of [...this.plan.entries].reverse()) {
      const at = this.#at(target);
      if (previous !== undefined && fs.existsSync(this.#at(previous))) fs.renameSync(this.#at(previous), at);
      else if (previous === undefined && inodeOf(at) === inode) fs.rmSync(at, { force: true });
      fs.rmSync(this.#at(temporary), { force: true });
    }
  }

  /** When all has been done: takes away the journal, then what was put aside. */
  end(): void {
    this.withdraw();
    for (const { temporary, previous } of this.plan.entries) {
      fs.rmSync(this.#at(temporary), { force: true });
      if (previous !== undefined) fs.rmSync(this.#at(previous), { force: true });
    }
  }

  #at(name: string): string {
    return path.join(this.folder, name);
  }
}

/** What stands in another folder of a plan. */
interface Pointer {
  readonly id: string;
  /** The folder of its journal, from there. */
  readonly leadsTo: string;
}

function read(file: string): Plan | Pointer {
  return JSON.parse(fs.readFileSync(file, 'utf8')) as Plan | Pointer;
}

/** The journal that a file is or leads to; undefined where it is gone, and so is the plan. */
export function journalOf(file: string): string | undefined {
  if (!file.endsWith(POINTER)) return file;
  const { id, leadsTo } = read(file) as Pointer;
  const folder = path.join(path.dirname(file), leadsTo);
  if (!fs.existsSync(folder)) return undefined;
  const journals = fs.readdirSync(folder).filter((name) => name.endsWith(ENDING));
  return journals.map((name) => path.join(folder, name)).find((each) => read(each).id === id);
}

/** Files that a journal puts into their places. */
export function targetsOf(journal: string): string[] {
  const plan = read(journal) as Plan;
  return plan.entries.map(({ target }) => path.resolve(path.dirname(journal), target));
}

/** A journal is there complete or not at all. */
function put(file: string, content: Plan | Pointer): void {
  const temporary = path.join(path.dirname(file), temporaryName());
  writing(file, () => {
    fs.writeFileSync(temporary, JSON.stringify(content), { flag: 'wx' });
    fs.renameSync(temporary, file);
  });
}

/** The number of a file's data; undefined where there is none. */
export function inodeOf(file: string): string | undefined {
  return fs.lstatSync(file, { bigint: true, throwIfNoEntry: false })?.ino.toString();
}

/** What says that a file system has no second names, as those of memory cards have not. */
const NO_LINKS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

/**
 * Puts a file where there is none. Of several processes, one succeeds.
 * @param again whether this was begun before, by a process that was killed
 * @throws exists, and what the file system says
 */
function placeNew(temporary: string, target: string, again: boolean): void {
  try {
    fs.linkSync(temporary, target);
    return;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') throw errors.exists(target);
    if (!NO_LINKS.has(codeOf(error))) throw error;
  }
  // An empty file holds the place.
  try {
    fs.closeSync(fs.openSync(target, 'wx'));
  } catch (error) {
    const held = again && fs.lstatSync(target, { throwIfNoEntry: false })?.size === 0;
    if (codeOf(error) === 'EEXIST' && !held) throw errors.exists(target);
    if (!held) throw error;
  }
  fs.renameSync(temporary, target);
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? '';
}
