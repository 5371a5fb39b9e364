/** The fixtures as files: real exports, golden conversions and reference results (see fixtures/README.md). */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { archivedNames, unpack } from '../../fixtures/archive';

/** fixtures/, also from dist/test/support. */
export const FIXTURES =
  ['../../../fixtures', '../../fixtures']
    .map((folder) => path.join(__dirname, folder))
    .find((folder) => fs.existsSync(path.join(folder, 'exports'))) ?? '';
type Kind =
  | 'exports'
  | 'golden'
  | 'references'
  | 'scopes'
  | 'monitoring'
  | 'trained'
  | 'projections'
  | 'quantized'
  | 'wide';

let folder: string | undefined;

function remove(): void {
  if (folder !== undefined) {
    fs.rmSync(folder, { recursive: true, force: true });
    folder = undefined;
  }
}

/** A folder of this process, removed when the test file (or the process) is done. */
export function temporaryFolder(): string {
  folder ??= fs.mkdtempSync(path.join(os.tmpdir(), 'diffx-fixtures-'));
  return folder;
}

if (typeof afterAll === 'function') {
  afterAll(remove);
}
process.once('exit', remove);

const archives = new Map<Kind, ReadonlyMap<string, string>>();

/** The archive that holds each file of a kind. */
function archivesOf(kind: Kind): ReadonlyMap<string, string> {
  let known = archives.get(kind);
  if (!known) {
    const files = fs.readdirSync(path.join(FIXTURES, kind)).filter((file) => file.endsWith('.br'));
    const paths = files.map((file) => path.join(FIXTURES, kind, file));
    known = new Map(
      paths.flatMap((archive) => archivedNames(archive).map((name) => [name, archive] as const)),
    );
    archives.set(kind, known);
  }
  return known;
}

/** The file of this name in the archives of a kind; unpacks the whole archive at first use. */
function unpacked(kind: Kind, name: string): string {
  const target = path.join(temporaryFolder(), kind);
  const file = path.join(target, name);
  if (!fs.existsSync(file)) {
    const archive = archivesOf(kind).get(name);
    if (archive === undefined) throw new Error(`fixtures/${kind} has no ${name}`);
    unpack(archive, target);
  }
  return file;
}

function names(kind: Kind): string[] {
  return [...archivesOf(kind).keys()].sort();
}

/** Names without the ending, of those files that have it. */
function endingWith(kind: Kind, ending: string): string[] {
  return names(kind).flatMap((name) => (name.endsWith(ending) ? [name.slice(0, -ending.length)] : []));
}

/** `llama-dec-ts17-sdpa` and 165 others: `<architecture>-<kind>-<exporter><opset>-<attention>[+variant]`. */
export function exportNames(): string[] {
  return endingWith('exports', '.onnx');
}

export interface Export {
  /** The model; its side file, where it has one, stands beside it. */
  readonly model: string;
  /** Safetensors: `input.<name>` and `output.<name>`. */
  readonly io: string;
}

export function openExport(name: string): Export {
  return { model: unpacked('exports', `${name}.onnx`), io: unpacked('exports', `${name}.io.safetensors`) };
}

/** A file of fixtures/projections: exports whose queries and keys come from projections in unusual forms, and results. */
export function projectionsFixture(name: string): string {
  return unpacked('projections', name);
}

/** Names of the models in the archives of a kind. */
export function modelNames(kind: 'exports' | 'scopes' | 'projections' | 'wide'): string[] {
  return endingWith(kind, '.onnx');
}

/** A model of any kind; its inputs and outputs where they are stored under its own name. */
export function openModel(
  kind: 'exports' | 'scopes' | 'projections' | 'wide',
  name: string,
): { model: string; io?: string } {
  const model = unpacked(kind, `${name}.onnx`);
  const io = `${model.slice(0, -'.onnx'.length)}.io.safetensors`;
  return fs.existsSync(io) ? { model, io } : { model };
}

/** A file of fixtures/scopes: models whose attention stands in bodies and functions, or has unusual caches and types. */
export function scopesFixture(name: string): string {
  return unpacked('scopes', name);
}

/** A file of fixtures/quantized: exports after static quantization. */
export function quantizedFixture(name: string): string {
  return unpacked('quantized', name);
}

/** `case.json` of a golden conversion. */
export interface GoldenSettings {
  readonly preset: 'axolotl' | 'paper' | 'diffllama' | 'v2';
  readonly heads: 'duplicate' | 'split';
  readonly sublayerNorm: boolean;
  readonly zeroInit?: boolean;
  readonly mirrorWeights?: boolean;
  readonly diffAttnMix?: number;
  readonly base: string;
  readonly layers: number;
  readonly heads_base: number;
  readonly kv_heads_base: number;
  readonly head_dim: number;
  readonly rms_norm_eps: number;
  readonly max_abs_change_from_base: number;
  /** Shapes of the tensors in `attention`. */
  readonly tensors: Readonly<Record<string, readonly number[]>>;
}

export interface GoldenCase {
  readonly settings: GoldenSettings;
  /** The same base model by both exporters. */
  readonly models: { readonly torchscript: string; readonly dynamo: string };
  /** Safetensors: inputs and outputs of the base model. */
  readonly baseIo: string;
  /** Safetensors: the attention tensors of the converted model, in the layout of the reference implementation. */
  readonly attention: string;
  /** Safetensors: inputs, and the logits of the converted model. */
  readonly io: string;
}

/** `base-kv2/axolotl-trained` and the others. */
export function goldenNames(): string[] {
  return endingWith('golden', '/case.json');
}

export function openGolden(name: string): GoldenCase {
  const [base = ''] = name.split('/');
  return {
    settings: JSON.parse(fs.readFileSync(unpacked('golden', `${name}/case.json`), 'utf8')),
    models: {
      torchscript: unpacked('golden', `${base}/torchscript-opset17.onnx`),
      dynamo: unpacked('golden', `${base}/dynamo-opset18.onnx`),
    },
    baseIo: unpacked('golden', `${base}/base.io.safetensors`),
    attention: unpacked('golden', `${name}/attention.safetensors`),
    io: unpacked('golden', `${name}/io.safetensors`),
  };
}

/** `case.json` of the reference results of an architecture. */
export interface ReferenceSettings {
  /** The attention modules in order. */
  readonly attention: readonly {
    readonly path: string;
    readonly heads: number;
    readonly kv_heads: number;
    readonly qk_head_dim: number;
    readonly v_head_dim: number;
  }[];
  readonly eps: number;
}

export interface Reference {
  readonly settings: ReferenceSettings;
  /** Safetensors: `<path>.lambda_q1`, …, `<path>.lambda_init`, `<path>.subln.weight` (of width 2d). */
  readonly lambda: string;
  /** Safetensors: `input.<name>`, `base.<output>`, `mirror-nonorm.<output>`, `split-nonorm.<output>`, `split-norm.<output>`. */
  readonly io: string;
}

/** `llama-dec` and the others: `<architecture>-<kind>`, as the names of exports begin. */
export function referenceNames(): string[] {
  return endingWith('references', '/case.json');
}

export function openReference(name: string): Reference {
  return {
    settings: JSON.parse(fs.readFileSync(unpacked('references', `${name}/case.json`), 'utf8')),
    lambda: unpacked('references', `${name}/lambda.safetensors`),
    io: unpacked('references', `${name}/io.safetensors`),
  };
}

export interface MonitoringCase {
  /** The same base model by both exporters. */
  readonly models: { readonly torchscript: string; readonly dynamo: string };
  /** Safetensors files in order. */
  readonly batches: readonly string[];
  /** The first rows of the batches, for `duplicate-sdpa`. */
  readonly rows: readonly string[];
  /** Safetensors by head mode: the attention tensors of the converted model. */
  readonly weights: { readonly duplicate: string; readonly split: string };
  /** JSON lines: the metrics of logged steps, computed in PyTorch. */
  readonly expected: Readonly<Record<'duplicate-eager' | 'duplicate-sdpa' | 'split-eager', string>>;
}

export function openMonitoring(): MonitoringCase {
  const file = (name: string): string => unpacked('monitoring', `monitored-llama/${name}`);
  return {
    models: { torchscript: file('torchscript-opset17.onnx'), dynamo: file('dynamo-opset23.onnx') },
    batches: [1, 2, 3, 4, 5, 6, 7].map((n) => file(`batches/${n}.safetensors`)),
    rows: [1, 2, 3, 4, 5, 6, 7].map((n) => file(`rows/${n}.safetensors`)),
    weights: { duplicate: file('duplicate.safetensors'), split: file('split.safetensors') },
    expected: {
      'duplicate-eager': file('duplicate-eager.jsonl'),
      'duplicate-sdpa': file('duplicate-sdpa.jsonl'),
      'split-eager': file('split-eager.jsonl'),
    },
  };
}

/**
 * For `parseText(text, { fill: randomFill(seed) })`: numbers from -1 to 1 for each tensor written as `{...}`, the same
 * for the same name and seed.
 */
export function randomFill(seed = 0): (name: string, count: number) => Float32Array {
  return (name, count) => {
    let state = seed >>> 0;
    for (const letter of name) {
      state = Math.imul(state ^ (letter.codePointAt(0) ?? 0), 0x01000193) >>> 0;
    }
    return Float32Array.from({ length: count }, () => {
      // mulberry32
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 31 - 1;
    });
  };
}

/** A base export and the checkpoint of a differential model all of whose weights are others: see fixtures/trained.py. */
export interface TrainedCase {
  readonly models: { readonly torchscript: string; readonly dynamo: string };
  readonly checkpoint: string;
  /** Safetensors: inputs, and `output` (`output.bfloat16`) of the model in PyTorch. */
  readonly io: string;
  /** A file that this case alone has, such as `shards/model.safetensors.index.json`. */
  file(name: string): string;
}

export function trainedNames(): string[] {
  return endingWith('trained', '/io.safetensors');
}

export function openTrained(name: string): TrainedCase {
  const file = (each: string) => unpacked('trained', `${name}/${each}`);
  return {
    models: { torchscript: file('torchscript.onnx'), dynamo: file('dynamo.onnx') },
    checkpoint: file('model.safetensors'),
    io: file('io.safetensors'),
    file,
  };
}
