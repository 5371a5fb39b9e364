import { passes } from '../../passes';
import type { LocatedSite } from '../attention/find';
import { type Preset, presetOf } from '../attention/presets';
import { readRecord } from '../attention/record';
import { errors } from '../errors';
import { load, type Model } from '../ir';
import { type Output, readModel, writeFiles } from '../onnx';
import type { SavedWeights } from '../report/weights';
import type { LoadReport } from '../rewrite/load-weights';
import { findPrepared } from '../rewrite/prepare';
import { referenceWeights } from '../rewrite/save-weights';
import { safetensorsOutput, type TensorToWrite } from '../weights/safetensors-write';
import type { RewriteOutput } from './rewrite';

export interface SaveWeightsSettings {
  /** Leading part of the module paths that is left out of the keys: the name of a wrapper, such as `m.`. */
  readonly stripPrefix?: string;
}

/** A file of weights that is ready to be written. */
export interface WeightsFile {
  readonly output: Output;
  readonly saved: SavedWeights;
}

/**
 * The attention parameters of a rewrite in the layout of the preset's reference implementation. Keys begin with the
 * module path that a checkpoint has for the layer, if one was loaded, else with that of the export.
 * @throws DiffxError quantized-weights, no-prefix
 */
export function weightsOf(
  output: RewriteOutput,
  path: string,
  settings: SaveWeightsSettings = {},
): WeightsFile {
  const { model, found, layers, weights, options } = output;
  const rewritten = new Set(layers.map((layer) => layer.path));
  const sites = found.sites.filter((site) => rewritten.has(site.path));
  const fromCheckpoint = pathsOfCheckpoint(sites, weights);
  return weightsFile(
    model,
    sites,
    presetOf(options),
    path,
    (each) => fromCheckpoint.get(each) ?? stripped(each, settings),
  );
}

/**
 * Saves the attention parameters of a model that diffx wrote, as they are now: after training, say.
 * @param original the model that was rewritten: it tells where queries and keys are projected
 * @throws DiffxError not-rewritten, quantized-weights, no-prefix, exists, unwritable, and those of models
 */
export function saveWeights(
  original: string,
  rewritten: string,
  target: string,
  settings: SaveWeightsSettings & { readonly force?: boolean } = {},
): SavedWeights {
  const model = load(readModel(rewritten));
  const record = readRecord(model);
  if (!record) throw errors.notRewritten(rewritten);
  const paths = new Set(record.layers.map(({ path }) => path));
  const source = readModel(original);
  if (source.sha256() !== record.sourceHash) throw errors.otherOriginal(rewritten, original);
  const sites = findPrepared(load(source), passes).sites.filter((site) => paths.has(site.path));
  const { output, saved } = weightsFile(model, sites, presetOf(record.options), target, (each) =>
    stripped(each, settings),
  );
  writeFiles([output], settings.force ?? false);
  return saved;
}

function weightsFile(
  model: Model,
  sites: readonly LocatedSite[],
  preset: Preset,
  path: string,
  nameOf: (path: string) => string,
): WeightsFile {
  const tensors: Map<string, TensorToWrite> = referenceWeights(model, sites, preset, nameOf);
  const layers = new Set(sites.map((site) => site.path)).size;
  return {
    // What PyTorch's own writer puts there: loaders ask for it.
    output: safetensorsOutput(path, tensors, { format: 'pt' }),
    saved: { path, layers, keys: [...tensors.keys()] },
  };
}

/** What a checkpoint calls the layers that it has parameters for. */
function pathsOfCheckpoint(
  sites: readonly LocatedSite[],
  weights: LoadReport | undefined,
): ReadonlyMap<string, string> {
  const paths = new Map<string, string>();
  for (const { path } of sites) {
    for (const { parameter, key } of weights?.loaded ?? []) {
      const suffix = parameter.startsWith(`${path}.`) ? parameter.slice(path.length) : undefined;
      if (suffix !== undefined && key.endsWith(suffix)) paths.set(path, key.slice(0, -suffix.length));
    }
  }
  return paths;
}

function stripped(path: string, { stripPrefix = '' }: SaveWeightsSettings): string {
  if (!path.startsWith(stripPrefix)) throw errors.noPrefix(stripPrefix, path);
  return path.slice(stripPrefix.length);
}
