import { type RewriteRecord, readRecord } from '../attention/record';
import { load, type Model } from '../ir';
import { type ModelFile, parseModel, readModel } from '../onnx';
import { type RewriteOutput, rewrittenBytes } from './rewrite';

/** A rewritten model as a report shows it. */
export interface RewrittenParts {
  readonly model: Model;
  /** What it says of itself; undefined for a model that diffx did not write. */
  readonly record: RewriteRecord | undefined;
  /** False for a model that is not in a file. */
  readonly written: boolean;
}

/** Reads a rewritten model. */
export function rewrittenParts(path: string): RewrittenParts {
  return partsOf(readModel(path), true);
}

/** A rewritten model that was not written to a file. */
export function unwrittenParts(output: RewriteOutput): RewrittenParts {
  const bytes = Buffer.concat([...rewrittenBytes(output).chunks()]);
  return partsOf(parseModel(bytes, { name: output.model.file.path }), false);
}

function partsOf(file: ModelFile, written: boolean): RewrittenParts {
  const model = load(file);
  return { model, record: readRecord(model), written };
}
