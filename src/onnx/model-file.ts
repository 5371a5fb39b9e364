/** A model as it was read: its messages, and its payloads wherever they lie. */
import { createHash } from 'node:crypto';
import * as path from 'node:path';
import { DiffxError, errors } from '../errors';
import { hashInBackground } from './background-hash';
import type { ByteRange } from './bytes';
import { decodeSource } from './decode';
import { otherFormat } from './diagnose';
import { externalBytes, isExternal, locationOf, sidePath } from './external-data';
import type { ModelProto, TensorProto } from './messages';
import { memorySource, openSource, type Source } from './source';
import { inlineBytes } from './tensor-bytes';
import { tensorsOf } from './walk';

export interface ModelFile {
  /** Path of the file, or the name that was given for bytes in memory. */
  readonly path: string;
  /** Folder that side files are looked for in; undefined for bytes in memory without one. */
  readonly directory: string | undefined;
  /** Size of the model file in bytes, without side files. */
  readonly size: number;
  readonly proto: ModelProto;
  /**
   * The bytes of a tensor in the layout of raw_data, wherever they are: raw_data, the typed fields, a side file.
   * Works for every tensor of this model and those derived from them; nothing is read before the range is.
   * @throws tensorInvalid (strings too), externalDataMissing, externalDataRange, externalDataEscapes,
   *   externalDataInvalid
   */
  tensorBytes(tensor: TensorProto): ByteRange;
  /** SHA-256 (hex) of the model file. */
  sha256(): string;
  /** Begins to compute `sha256` on another thread, where the file is large enough for that to pay. */
  startHash(): void;
  /** SHA-256 (hex) of each side file. */
  externalSha256(): readonly { location: string; sha256: string }[];
  /** Locations of side files, as the model spells them, in the order of first use. */
  readonly externalFiles: readonly string[];
  /** All bytes of a side file; `location` is one of `externalFiles`. */
  sideFile(location: string): ByteRange;
}

/**
 * Reads a model. Long payloads are not read: what memory it takes depends on the nodes, not on the weights.
 * @param options.inMemoryUpTo model and side files up to this many bytes are read at once; default 1 MiB
 * @throws fileNotFound, notAFile, unreadable, notAModel, truncated
 */
export function readModel(file: string, options: { inMemoryUpTo?: number } = {}): ModelFile {
  const open = (name: string) => openSource(name, options);
  return new OpenModel(open(file), path.dirname(file), open);
}

/**
 * Reads a model from memory.
 * @param options.name stands for the bytes in error messages
 * @param options.directory folder of side files, if there are any
 * @throws notAModel, truncated
 */
export function parseModel(
  bytes: Uint8Array,
  options: { name?: string; directory?: string } = {},
): ModelFile {
  return new OpenModel(memorySource(bytes, options.name ?? 'model'), options.directory, openSource);
}

class OpenModel implements ModelFile {
  readonly path: string;
  readonly size: number;
  readonly proto: ModelProto;
  readonly externalFiles: readonly string[];
  /** A tensor that uses each side file, for its error messages. */
  private readonly users = new Map<string, TensorProto>();
  private readonly sides = new Map<string, Source>();
  private digest: string | undefined;

  constructor(
    private readonly source: Source,
    readonly directory: string | undefined,
    private readonly open: (path: string) => Source,
  ) {
    this.path = source.name;
    this.size = source.length;
    this.proto = decodeModel(source);
    for (const tensor of tensorsOf('ModelProto', this.proto)) {
      if (!isExternal(tensor)) continue;
      const location = locationOf(tensor);
      if (!this.users.has(location)) this.users.set(location, tensor);
    }
    this.externalFiles = [...this.users.keys()];
  }

  readonly tensorBytes = (tensor: TensorProto): ByteRange =>
    isExternal(tensor) ? externalBytes(tensor, this.side(tensor)) : inlineBytes(tensor);

  /** The hash that another thread is working on. */
  private pending: (() => string | undefined) | undefined;

  startHash(): void {
    if (this.digest === undefined && this.directory !== undefined) {
      this.pending ??= hashInBackground(this.path, this.size);
    }
  }

  sha256(): string {
    this.digest ??= this.pending?.() ?? hash(this.source.range(0, this.size));
    return this.digest;
  }

  externalSha256(): readonly { location: string; sha256: string }[] {
    return this.externalFiles.map((location) => ({ location, sha256: hash(this.sideFile(location)) }));
  }

  sideFile(location: string): ByteRange {
    const user = this.users.get(location);
    if (user === undefined) throw new Error(`${this.path} has no side file ${location}`);
    const side = this.side(user);
    return side.range(0, side.length);
  }

  private side(tensor: TensorProto): Source {
    const location = locationOf(tensor);
    const known = this.sides.get(location);
    if (known !== undefined) return known;
    if (this.directory === undefined) {
      throw errors.externalDataInvalid(
        tensor.name ?? '',
        `lies in '${location}', but the model has no folder`,
      );
    }
    const side = this.open(sidePath(tensor, this.directory));
    this.sides.set(location, side);
    return side;
  }
}

function decodeModel(source: Source): ModelProto {
  try {
    const model = decodeSource('ModelProto', source);
    if (model.graph !== undefined) return model;
    throw errors.notAModel(source.name, 'it has no graph');
  } catch (error) {
    const format = error instanceof DiffxError ? otherFormat(source) : undefined;
    throw format === undefined ? error : errors.notAModel(source.name, format);
  }
}

function hash(bytes: ByteRange): string {
  const digest = createHash('sha256');
  for (const piece of bytes.chunks()) digest.update(piece);
  return digest.digest('hex');
}
