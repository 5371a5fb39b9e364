import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { load, type Model, save, type Value } from '../ir';
import { type ModelFile, modelBytes, writeModel } from '../onnx';

/** Above this size a variant goes through a temporary file instead of memory. */
const LARGE = 64 * 2 ** 20;

/** A changed copy of a model, ready for a session. */
export interface Variant {
  readonly model: string | Uint8Array;
  discard(): void;
}

/** Makes a changed copy of a model that was read; the file itself is not touched. */
export function makeVariant(file: ModelFile, edit: (model: Model) => void): Variant {
  const model = load(file);
  edit(model);
  const proto = save(model);
  const tensorBytes = file.tensorBytes.bind(file);
  const size = modelSize(file);
  if (size <= LARGE) {
    return { model: modelBytes(proto, { name: file.path, tensorBytes }).read(), discard: () => undefined };
  }
  const folder = mkdtempSync(path.join(tmpdir(), 'diffx-verify-'));
  const target = path.join(folder, 'variant.onnx');
  writeModel(proto, target, { tensorBytes });
  return { model: target, discard: () => rmSync(folder, { recursive: true, force: true }) };
}

function modelSize(file: ModelFile): number {
  return file.externalFiles.reduce((all, location) => all + file.sideFile(location).length, file.size);
}

/**
 * Makes values outputs of the main graph, so that a run shows them.
 * @returns names of values that cannot be shown, because they are computed inside a body or a function
 */
export function expose(model: Model, names: Iterable<string>): string[] {
  const hidden: string[] = [];
  const shown = new Set(model.graph.outputs.map(({ name }) => name));
  for (const name of new Set(names)) {
    if (shown.has(name)) continue;
    const value: Value | undefined = model.graph.values.get(name);
    if (!value?.producer) hidden.push(name);
    else model.graph.addOutput(value);
  }
  return hidden;
}
