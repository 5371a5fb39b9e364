import { passes } from '../../passes';
import { load, type Model, save } from '../ir';
import { type ByteRange, modelBytes, type Output, readModel, type TensorProto, writeModel } from '../onnx';
import { type RewriteOptions, type RewriteSettings, resolveOptions } from '../rewrite/options';
import { type RunResult, runRewrite } from '../rewrite/run';
import { openSafetensors } from '../weights/checkpoint';
import { version } from './version';

/** Settings of a rewrite of a file. */
export interface RewriteFileSettings extends RewriteSettings {
  /** A checkpoint to fill the model from: a .safetensors file, an .index.json, or a folder. */
  readonly weights?: string;
  /** Refuse a checkpoint that lacks new parameters, or has keys that belong nowhere. Default false. */
  readonly strictWeights?: boolean;
  /** Called after each pass with the model as it is, for dumps. */
  readonly afterPass?: (pass: string, model: Model) => void;
}

export interface RewriteOutput extends RunResult {
  readonly options: RewriteOptions;
  readonly model: Model;
}

/**
 * Rewrites a model in memory; weights stay in the source file until the result is written.
 * @throws DiffxError, see src/errors.ts
 */
export function rewriteModel(path: string, settings: RewriteFileSettings = {}): RewriteOutput {
  const options = resolveOptions(settings);
  const file = readModel(path);
  file.startHash();
  const checkpoint = settings.weights === undefined ? undefined : openSafetensors(settings.weights);
  const model = load(file);
  const result = runRewrite(model, passes, options, {
    checkpoint,
    strictWeights: settings.strictWeights,
    sourceHash: () => file.sha256(),
    version,
    afterPass: settings.afterPass,
  });
  return { ...result, options, model };
}

/**
 * Writes a rewritten model; the file appears complete or not at all.
 * @param beside other files that appear with it
 */
export function writeRewritten(
  output: RewriteOutput,
  target: string,
  force: boolean,
  beside: readonly Output[] = [],
): void {
  const { file } = output.model;
  const tensorBytes = (tensor: TensorProto) => file.tensorBytes(tensor);
  writeModel(save(output.model), target, { force, tensorBytes, beside });
}

/** The bytes of a rewritten model, side files included. */
export function rewrittenBytes(output: RewriteOutput): ByteRange {
  const { file } = output.model;
  return modelBytes(save(output.model), {
    name: file.path,
    tensorBytes: (tensor) => file.tensorBytes(tensor),
  });
}
