import { existsSync } from 'node:fs';
import * as path from 'node:path';
import type { ConfigFile, Settings } from '../../config';
import { DiffxError, errors } from '../../errors';
import { isFolder, namesIn } from '../../onnx/folders';
import type { RewriteCommandOptions } from './rewrite';
import { hasWorkingConfig } from './working-config';

/** What configuration files say of a rewrite, with the command line over it. */
export interface Layered {
  readonly options: RewriteCommandOptions;
  /** The model to rewrite, if a file names one. */
  readonly baseModel: string | undefined;
  /** The file of `--config`. */
  readonly config: ConfigFile | undefined;
  /** All files that were read. */
  readonly files: readonly string[];
  /** Things in them that do not do what one may think. */
  readonly warnings: readonly string[];
}

/**
 * Puts the command line over the file of `--config`, and that over the `diffx.config` file of the working directory.
 * @throws DiffxError of configuration files
 */
export async function layered(options: RewriteCommandOptions): Promise<Layered> {
  const { config: file } = options;
  if (file === false || (file === undefined && !hasWorkingConfig())) {
    return { options, baseModel: undefined, config: undefined, files: [], warnings: [] };
  }
  // Loaded here: most rewrites have no configuration file.
  const { readConfig, readWorkingConfig } = await import('../../config/index.js');
  const working = readWorkingConfig('.');
  const config = file === undefined ? undefined : readConfig(file, 'axolotl');
  const layers = [working, config].flatMap((each) => each ?? []);
  const merged = [...layers.map(({ settings }) => optionsOf(settings)), options].reduce(over);
  return {
    options: merged,
    baseModel: config?.settings.base_model ?? working?.settings.base_model,
    config,
    files: layers.map((each) => each.path),
    warnings: layers.flatMap((each) => warningsOf(each, merged)),
  };
}

function optionsOf({ layers, ep, ...settings }: Settings): RewriteCommandOptions {
  const camel = Object.entries(settings).map(([key, value]) => [
    key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
    value,
  ]);
  return {
    ...Object.fromEntries(camel),
    ...(layers === undefined ? {} : { layers: [layers].flat().join(',') }),
    ...(ep === undefined ? {} : { ep: [ep].flat() }),
  };
}

/** One layer over another. What belongs together is replaced together. */
function over(lower: RewriteCommandOptions, upper: RewriteCommandOptions): RewriteCommandOptions {
  const gone = new Set<string>();
  if (upper.init !== undefined || upper.zeroInit || upper.mirrorWeights) {
    for (const name of ['init', 'zeroInit', 'mirrorWeights']) gone.add(name);
  }
  if (upper.output !== undefined || upper.outputDir !== undefined) gone.add('output').add('outputDir');
  if (upper.sublayerNorm === false || upper.init === 'preserve') gone.add('normEps');
  const kept = Object.entries(lower).filter(([name]) => !gone.has(name));
  return { ...Object.fromEntries(kept), ...upper };
}

function warningsOf({ path: file, settings }: ConfigFile, options: RewriteCommandOptions): string[] {
  const warnings: string[] = [];
  if ((settings.diff_attn_warmup_steps ?? 0) > 0 && !options.mixInput) {
    warnings.push(
      `${file}: diff_attn_warmup_steps: the model has no input for the warm-up; --mix-input adds it, for diffx monitor`,
    );
  }
  return warnings;
}

/**
 * The model of a command: the one that is named, or what `base_model` of a configuration file means, a file or the model
 * of a folder.
 * @param config the file of `--config`, if there is one
 * @throws DiffxError command-line, no-base-model, file-not-found, no-model
 */
export function modelOf(
  named: string | undefined,
  baseModel: string | undefined,
  command: string,
  config: string | undefined,
): string {
  if (named !== undefined) return named;
  if (baseModel === undefined) {
    throw config === undefined
      ? errors.commandLine("missing required argument 'model'", command)
      : errors.noBaseModel(config);
  }
  if (!existsSync(baseModel)) throw errors.baseModelNotFound(baseModel);
  if (!isFolder(baseModel)) return baseModel;
  const models = namesIn(baseModel).filter((name) => name.endsWith('.onnx'));
  const [only, ...others] = models;
  const name = others.length === 0 ? only : models.find((each) => each === 'model.onnx');
  if (name === undefined) throw errors.noModel(baseModel, models);
  return path.join(baseModel, name);
}

/** Runs a step; an error that settings of files may have caused names them. */
export function naming<T>(files: readonly string[], step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof DiffxError) || files.length === 0) throw error;
    throw errors.withFiles(error, files);
  }
}
