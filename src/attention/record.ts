import type { Model } from '../ir';
import { lazyEntry } from '../onnx';

/** What a rewritten model says of itself, in `metadata_props`. */

/** Keys of `metadata_props` that a rewritten model carries. */
export const METADATA = {
  version: 'ai.diffx.version',
  preset: 'ai.diffx.preset',
  options: 'ai.diffx.options',
  source: 'ai.diffx.source_sha256',
  layers: 'ai.diffx.layers',
  loaded: 'ai.diffx.loaded_sha256',
} as const;

/** Domain of the functions that diffx defines. */
export const DOMAIN = 'ai.diffx';
export const DOMAIN_VERSION = 1;

/** Name of the graph input of SPEC section 6. */
export const MIX_INPUT = 'diff_attn_mix';

/**
 * What a differential attention starts from:
 * - `scores`: Q1, K1, Q2, K2, V of rank 4; the scores are scale * Q K^T / divisor + bias
 * - `probabilities`: A1, A2, V
 * - `outputs`: Y1 = A1 V, Y2 = A2 V, as fused operators give them
 */
export type FunctionForm = 'scores' | 'probabilities' | 'outputs';

/** The options as they are recorded: enough to rewrite the source once more. */
export interface RecordedOptions {
  readonly preset: string;
  readonly heads: 'duplicate' | 'split';
  readonly init: 'random' | 'zero' | 'mirror' | 'preserve';
  readonly sublayerNorm: boolean;
  readonly normEps?: number | undefined;
  readonly seed: number;
  readonly layers?: string | undefined;
  readonly allowPartial: boolean;
  readonly emit: 'function' | 'inline';
  readonly mixInput: boolean;
}

/** A graph input or output that holds keys: twice as many heads as before, positive ones first. */
export interface CachedKeys {
  readonly name: string;
  readonly kind: 'past' | 'present';
  /** The axis of the heads. */
  readonly axis: number;
  /** Number of heads before. */
  readonly heads: number;
}

/** What was done to one attention. */
export interface RewrittenLayer {
  readonly path: string;
  readonly depth: number;
  readonly form: FunctionForm;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headWidth: number;
  readonly valueWidth: number;
  /** Epsilon of the sublayer norm, if there is one. */
  readonly epsilon?: number | undefined;
  /** Name of the value that the attention gave before and gives now. */
  readonly output: string;
  /** Name of what the differential attention gives, before it is laid out like that value. */
  readonly attended: string;
  /** Name of the differential-attention node, or of the last operator of it. */
  readonly node: string;
  /** Names of the values that the differential attention starts from, by the names of `FunctionForm`. */
  readonly start: Readonly<Record<string, string>>;
  /** Caches of keys that have changed with it. */
  readonly caches: readonly CachedKeys[];
}

export interface RewriteRecord {
  readonly version: string;
  /** SHA-256 of the source file, hex. */
  readonly sourceHash: string;
  readonly options: RecordedOptions;
  readonly layers: readonly RewrittenLayer[];
  /** SHA-256 of each parameter that a checkpoint filled, hex. */
  readonly loaded: Readonly<Record<string, string>>;
}

/** A SHA-256 in hex. */
const HASH_LENGTH = 64;

/** Writes the record into the metadata of a model. The hash of the source is asked for when the model is written. */
export function writeRecord(
  model: Model,
  record: Omit<RewriteRecord, 'sourceHash'>,
  sourceHash: () => string,
): void {
  model.setMetadata(METADATA.version, record.version);
  model.setMetadata(METADATA.preset, record.options.preset);
  model.setMetadata(METADATA.options, JSON.stringify(record.options));
  model.setEntry(lazyEntry(METADATA.source, HASH_LENGTH, sourceHash));
  model.setMetadata(METADATA.layers, JSON.stringify(record.layers));
  if (Object.keys(record.loaded).length > 0)
    model.setMetadata(METADATA.loaded, JSON.stringify(record.loaded));
}

/** The record of a model that diffx wrote; undefined for every other model. */
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
