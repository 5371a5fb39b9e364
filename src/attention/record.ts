import { errors } from '../errors';
import type { Model } from '../ir';
import { lazyEntry } from '../onnx';
import { type MonitoredLayer, RUN_METRICS } from './monitored';
import { type HeadMode, PRESETS, type PresetName } from './presets';

/** What a rewritten model says of itself, in `metadata_props`. */

/** Keys of `metadata_props` that a rewritten model carries. */
export const METADATA = {
  version: 'ai.diffx.version',
  preset: 'ai.diffx.preset',
  options: 'ai.diffx.options',
  source: 'ai.diffx.source_sha256',
  layers: 'ai.diffx.layers',
  loaded: 'ai.diffx.loaded_sha256',
  separated: 'ai.diffx.separated',
  monitored: 'ai.diffx.monitored',
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
  readonly preset: PresetName;
  readonly heads: HeadMode;
  readonly init: 'random' | 'zero' | 'mirror' | 'preserve';
  readonly sublayerNorm: boolean;
  readonly normEps?: number | undefined;
  readonly seed: number;
  readonly layers?: string | undefined;
  readonly allowPartial: boolean;
  readonly emit: 'function' | 'inline';
  readonly mixInput: boolean;
  readonly monitorLayers?: number | undefined;
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
  /** Layers with metrics among the outputs, see SPEC section 7. */
  readonly monitored: readonly MonitoredLayer[];
  /** Weights that the source stores as part of others, by name, and those: a checkpoint has them apart. */
  readonly separated: Readonly<Record<string, string>>;
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
  if (Object.keys(record.separated).length > 0)
    model.setMetadata(METADATA.separated, JSON.stringify(record.separated));
  if (record.monitored.length > 0) model.setMetadata(METADATA.monitored, JSON.stringify(record.monitored));
}

/**
 * The record of a model that diffx wrote; undefined for every other model.
 * @throws DiffxError invalid-record where the metadata was damaged
 */
export function readRecord(model: Model): RewriteRecord | undefined {
  const version = model.metadataValue(METADATA.version);
  if (version === undefined) return undefined;
  const options = parseEntry(model, METADATA.options, isOptions);
  const layers = parseEntry(model, METADATA.layers, isLayers);
  const loaded =
    model.metadataValue(METADATA.loaded) === undefined ? {} : parseEntry(model, METADATA.loaded, isHashes);
  const monitored =
    model.metadataValue(METADATA.monitored) === undefined
      ? []
      : parseEntry(model, METADATA.monitored, isMonitored);
  const separated =
    model.metadataValue(METADATA.separated) === undefined
      ? {}
      : parseEntry(model, METADATA.separated, isHashes);
  const sourceHash = model.metadataValue(METADATA.source) ?? '';
  return { version, sourceHash, options, layers, loaded, monitored, separated };
}

function parseEntry<T>(model: Model, key: string, valid: (value: unknown) => value is T): T {
  let value: unknown;
  try {
    value = JSON.parse(model.metadataValue(key) ?? '');
  } catch (error) {
    throw errors.invalidRecord(model.file.path, key, error);
  }
  if (!valid(value)) throw errors.invalidRecord(model.file.path, key);
  return value;
}

type Fields = Readonly<Record<string, unknown>>;

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function hasTypes(value: Fields, types: Readonly<Record<string, string>>): boolean {
  return Object.entries(types).every(([key, type]) => typeof value[key] === type);
}

function isOptions(value: unknown): value is RecordedOptions {
  return (
    isFields(value) &&
    hasTypes(value, { seed: 'number', sublayerNorm: 'boolean', mixInput: 'boolean' }) &&
    PRESETS.some((preset) => preset === value['preset']) &&
    (value['heads'] === 'duplicate' || value['heads'] === 'split') &&
    ['random', 'zero', 'mirror', 'preserve'].includes(String(value['init'])) &&
    ['function', 'inline'].includes(String(value['emit']))
  );
}

const LAYER_TYPES = {
  path: 'string',
  depth: 'number',
  form: 'string',
  heads: 'number',
  kvHeads: 'number',
  headWidth: 'number',
  valueWidth: 'number',
  output: 'string',
  attended: 'string',
  node: 'string',
};

function isLayers(value: unknown): value is RewrittenLayer[] {
  return (
    Array.isArray(value) &&
    value.every(
      (each) =>
        isFields(each) &&
        hasTypes(each, LAYER_TYPES) &&
        ['scores', 'probabilities', 'outputs'].includes(String(each['form'])) &&
        isHashes(each['start']) &&
        Array.isArray(each['caches']),
    )
  );
}

function isMonitored(value: unknown): value is MonitoredLayer[] {
  return (
    Array.isArray(value) &&
    value.every(
      (each) =>
        isFields(each) &&
        hasTypes(each, { number: 'number', path: 'string' }) &&
        ['probabilities', 'outputs'].includes(String(each['of'])) &&
        isFields(each['outputs']) &&
        hasTypes(each['outputs'], Object.fromEntries(RUN_METRICS.map((metric) => [metric, 'string']))) &&
        Array.isArray(each['inside']) &&
        each['inside'].every((name) => typeof name === 'string'),
    )
  );
}

function isHashes(value: unknown): value is Record<string, string> {
  return isFields(value) && Object.values(value).every((each) => typeof each === 'string');
}
