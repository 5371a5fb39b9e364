/** Writes models: to files, complete or not at all, or as bytes. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { errors } from '../errors';
import { isStream, type Output, writeFiles } from './atomic';
import type { ByteRange } from './bytes';
import { encode } from './encode';
import { asTheSource, inOneFile, inTwoFiles, LARGEST_MODEL, type Layout, type TensorBytes } from './layout';
import type { ModelProto } from './messages';
import type { ModelFile } from './model-file';

export interface WriteOptions {
  /** Replace files that exist. */
  readonly force?: boolean;
  /** Other files, which appear with the model or not at all. */
  readonly beside?: readonly Output[];
  /** `tensorBytes` of the model that was read. Needed where tensors lie in side files. */
  readonly tensorBytes?: TensorBytes;
  /**
   * Where payloads go.
   * - `auto` (default): into `<target name>.data` if the source had a side file (then what was external and what is
   *   new) or if one file would be larger than 2 GiB (then all); else into the model
   * - `always`: into `<target name>.data`, except short ones
   * - `never`: into the model
   * - `{ keepLocationsOf }`: external tensors keep location and offset; the side files of that model are copied
   *   beside the target, unless it stands beside them already
   */
  readonly externalData?: 'auto' | 'always' | 'never' | { readonly keepLocationsOf: ModelFile };
}

/**
 * Writes a model. Whatever was not replaced is copied byte for byte, in pieces; the files appear complete or not at
 * all. The target may be the file that the model was read from.
 * @throws exists, unwritable, modelTooLarge, and the errors of `tensorBytes`
 */
export function writeModel(model: ModelProto, target: string, options: WriteOptions = {}): void {
  const { externalData = 'auto', force = false, beside = [] } = options;
  const outputs =
    typeof externalData === 'object'
      ? keepingLocations(model, target, externalData.keepLocationsOf)
      : outputsOf(layOut(model, target, externalData, options.tensorBytes ?? noSideFile), target);
  if (outputs.length > 1 && isStream(target))
    throw errors.unwritable(target, 'the model has a side file, which needs a folder');
  writeFiles([...beside, ...outputs], force);
}

/**
 * The bytes of a model in one file, side files included; for standard output or a runtime.
 * @throws modelTooLarge, and the errors of `tensorBytes`
 */
export function modelBytes(
  model: ModelProto,
  options: { name?: string; tensorBytes?: TensorBytes } = {},
): ByteRange {
  return inOneFile(model, options.tensorBytes ?? noSideFile, options.name ?? 'model').model;
}

const noSideFile: TensorBytes = (tensor) => {
  throw new Error(`tensor '${tensor.name ?? ''}' is external: tensorBytes is needed to write it`);
};

function layOut(
  model: ModelProto,
  target: string,
  mode: 'auto' | 'always' | 'never',
  tensorBytes: TensorBytes,
): Layout {
  const location = sideName(target);
  switch (mode) {
    case 'auto':
      return asTheSource(model, tensorBytes, location, target);
    case 'always':
      return inTwoFiles(model, tensorBytes, location, target);
    case 'never':
      return inOneFile(model, tensorBytes, target);
  }
}

function sideName(target: string): string {
  return `${path.basename(target)}.data`;
}

/** The side file first: a model must never stand there without its weights. */
function outputsOf(layout: Layout, target: string): readonly Output[] {
  const model = { path: target, bytes: layout.model };
  if (layout.side === undefined) return [model];
  return [{ path: path.join(path.dirname(target), sideName(target)), bytes: layout.side }, model];
}

function keepingLocations(model: ModelProto, target: string, source: ModelFile): readonly Output[] {
  const bytes = encode('ModelProto', model);
  if (bytes.length > LARGEST_MODEL) throw errors.modelTooLarge(target, bytes.length);
  const folder = path.dirname(target);
  const outputs: Output[] = [];
  if (source.directory === undefined || !sameFolder(source.directory, folder)) {
    for (const location of source.externalFiles) {
      const file = path.join(folder, location);
      // Only folders below the target's: a misspelt target must not be made.
      outputs.push({ path: file, bytes: source.sideFile(location), makeFolder: fs.existsSync(folder) });
    }
  }
  return [...outputs, { path: target, bytes }];
}

function sameFolder(one: string, other: string): boolean {
  return fs.existsSync(other) && fs.realpathSync(one) === fs.realpathSync(other);
}
