import { createHash } from 'node:crypto';
import type { Model } from '../ir';
import type { LoadReport } from './load-weights';
import type { RewriteOptions } from './options';
import type { RewriteSession, RewrittenLayer } from './session';

/** Keys of `metadata_props` that a rewritten model carries. */
export const METADATA = {
  version: 'ai.diffx.version',
  preset: 'ai.diffx.preset',
  options: 'ai.diffx.options',
  source: 'ai.diffx.source_sha256',
  layers: 'ai.diffx.layers',
  loaded: 'ai.diffx.loaded_sha256',
} as const;

/** The options as they are recorded: enough to rewrite the source once more. */
export interface RecordedOptions extends Omit<RewriteOptions, 'layers'> {
  readonly layers: string | undefined;
}

/** What a rewritten model says of itself. */
export interface RewriteRecord {
  readonly version: string;
  readonly sourceHash: string;
  readonly options: RecordedOptions;
  readonly layers: readonly RewrittenLayer[];
  /** SHA-256 of each parameter that a checkpoint filled. */
  readonly loaded: Readonly<Record<string, string>>;
}

/** Records version, preset, options, layers and the hash of the source. */
export function stampMetadata(
  session: RewriteSession,
  inputs: { readonly version: string; readonly sourceHash: () => string },
  weights: LoadReport | undefined,
): void {
  const { model, options, layers } = session;
  const recorded: RecordedOptions = { ...options, layers: options.layers?.text };
  model.setMetadata(METADATA.version, inputs.version);
  model.setMetadata(METADATA.preset, options.preset);
  model.setMetadata(METADATA.options, JSON.stringify(recorded));
  model.setMetadata(METADATA.source, inputs.sourceHash());
  model.setMetadata(METADATA.layers, JSON.stringify(layers));
  if (weights) model.setMetadata(METADATA.loaded, JSON.stringify(hashLoaded(model, weights)));
}

function hashLoaded(model: Model, weights: LoadReport): Record<string, string> {
  const hashes: Record<string, string> = {};
  for (const { parameter } of weights.loaded) {
    const tensor = model.graph.values.get(parameter)?.initializer;
    if (!tensor) continue;
    const hash = createHash('sha256');
    for (const chunk of model.file.tensorBytes(tensor).chunks()) hash.update(chunk);
    hashes[parameter] = hash.digest('hex');
  }
  return hashes;
}

/** What a model that diffx wrote says of itself; undefined for every other model. */
export function readRecord(model: Model): RewriteRecord | undefined {
  const version = model.metadataValue(METADATA.version);
  const options = model.metadataValue(METADATA.options);
  const layers = model.metadataValue(METADATA.layers);
  if (version === undefined || options === undefined || layers === undefined) return undefined;
  return {
    version,
    sourceHash: model.metadataValue(METADATA.source) ?? '',
    options: JSON.parse(options),
    layers: JSON.parse(layers),
    loaded: JSON.parse(model.metadataValue(METADATA.loaded) ?? '{}'),
  };
}
