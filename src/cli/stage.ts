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

  constructor(readonly target: string) {
    const parent = path.dirname(target);
    this.#folder = uninterrupted(() => writing(target, () => fs.mkdtempSync(path.join(parent, TEMPORARY))));
    this.path = path.join(this.#folder, path.basename(target));
  }

  /** Does something with the staged path; errors name the target instead. */
  try<T>(step: (path: string) => T): T {
    try {
      return step(this.path);
    } catch (error) {
      throw this.#named(error);
    }
  }

  #named(error: unknown): unknown {
    if (!(error instanceof DiffxError)) return error;
    const message = error.message.replaceAll(this.path, this.target);
    return new DiffxError(error.code, error.exitCode, message, error.remedy, {
      cause: error,
      reasons: error.reasons,
    });
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
