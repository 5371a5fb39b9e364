import { rmSync } from 'node:fs';
import * as path from 'node:path';
import { load, type Model, save } from '../ir';
import { type ModelFile, modelBytes, writeModel } from '../onnx';
import { temporaryFolder } from '../onnx/folders';
import { widened } from './wide';

/** Above this size a variant goes through a temporary file instead of memory. */
const LARGE = 64 * 2 ** 20;

/** A changed copy of a model, ready for a session. */
export interface Variant {
  readonly model: string | Uint8Array;
  discard(): void;
}

/**
 * Makes a changed copy of a model that was read; the file itself is not touched.
 * @param settings largest: bytes that are held in memory, more go into a temporary file; wide: float32 for bfloat16
 */
export function makeVariant(
  file: ModelFile,
  edit: (model: Model) => void,
  { largest = LARGE, wide = false }: { readonly largest?: number; readonly wide?: boolean } = {},
): Variant {
  const model = load(file);
  edit(model);
  const saved = save(model);
  const proto = wide ? widened(saved, file) : saved;
  const tensorBytes = file.tensorBytes.bind(file);
  if (modelSize(file) <= largest) {
    return { model: modelBytes(proto, { name: file.path, tensorBytes }).read(), discard: () => undefined };
  }
  const folder = temporaryFolder('verify');
  const discard = () => rmSync(folder, { recursive: true, force: true });
  const target = path.join(folder, 'variant.onnx');
  try {
    writeModel(proto, target, { tensorBytes });
  } catch (error) {
    discard();
    throw error;
  }
  return { model: target, discard };
}

/** Bytes of a model with its side files. */
export function modelSize(file: ModelFile): number {
  return file.externalFiles.reduce((all, location) => all + file.sideFile(location).length, file.size);
}

/** Bytes up to which a model runs on one thread: starting more takes longer than they save. */
const SMALL = 16 * 2 ** 20;

/** The session option for how many threads a model gets. */
export function threadsFor(file: ModelFile): { readonly threads?: number } {
  return modelSize(file) <= SMALL ? { threads: 1 } : {};
}
