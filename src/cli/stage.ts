import * as fs from 'node:fs';
import * as path from 'node:path';
import { DiffxError } from '../errors';
import { type Output, writeFiles } from '../onnx';
import { writing } from '../onnx/file-errors';
import { TEMPORARY } from '../onnx/owner';
import { uninterrupted } from '../onnx/uninterrupted';

/**
 * A folder beside the target in which an output waits until it has been verified. Its files already have the names
 * that they will have: a model names its side file.
 */
export class Stage {
  /** Path to write to. */
  readonly path: string;
  readonly #folder: string;

  /** @param shown what errors and reports call the target, which may not be a file that anybody named */
  constructor(
    readonly target: string,
    readonly shown: string = target,
  ) {
    const parent = path.dirname(target);
    this.#folder = uninterrupted(() => writing(shown, () => fs.mkdtempSync(path.join(parent, TEMPORARY))));
    this.path = path.join(this.#folder, path.basename(target));
  }

  /** Does something with the staged path; errors name the target instead. */
  async try<T>(step: (path: string) => T | Promise<T>): Promise<T> {
    try {
      return await step(this.path);
    } catch (error) {
      throw this.#named(error);
    }
  }

  #named(error: unknown): unknown {
    if (!(error instanceof DiffxError)) return error;
    const { code, exitCode, message, remedy, reasons } = error;
    return new DiffxError(code, exitCode, this.#text(message), this.#text(remedy), { cause: error, reasons });
  }

  #text(text: string): string {
    return text.replaceAll(this.path, this.shown).replaceAll(this.#folder, path.dirname(this.shown));
  }

  /** What a step has found out about the staged files, with the names that people know. */
  named<T>(found: T): T {
    const rename = (value: unknown): unknown => {
      if (typeof value === 'string') return this.#text(value);
      if (Array.isArray(value)) return value.map(rename);
      if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
        return value;
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, rename(each)]));
    };
    return rename(found) as T;
  }

  /**
   * Moves all files to the target's folder, the model last: it must never stand there without its weights.
   * @param beside other files, which appear with them or not at all
   */
  publish(force: boolean, beside: readonly Output[]): void {
    const model = path.basename(this.target);
    const names = fs.readdirSync(this.#folder).filter((name) => name !== model);
    const staged = [...names, model].map((name) => ({
      path: path.join(path.dirname(this.target), name),
      staged: path.join(this.#folder, name),
    }));
    writeFiles([...beside, ...staged], force);
  }

  discard(): void {
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }
}
