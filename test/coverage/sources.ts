/** The exports to measure: those of the repository, or those in folders. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { modelNames, openModel, openReference, referenceNames } from '../support/fixtures';

/** One export, before anything is unpacked. */
export interface Source {
  readonly name: string;
  /** The folder it lies in, or which of the fixtures it is. */
  readonly folder?: string;
  readonly kind?: Kind;
  /** False: rewritten, but not run. */
  readonly runs?: boolean;
}

const KINDS = ['exports', 'scopes', 'projections', 'wide'] as const;
type Kind = (typeof KINDS)[number];

export interface Opened {
  readonly name: string;
  readonly model: string;
  /** Safetensors with `input.<name>` and, where it has them, `output.<name>`. */
  readonly io: string | undefined;
}

export interface OpenedReference {
  /** Safetensors: lambda vectors and norm weights by module path. */
  readonly lambda: string;
  readonly io: string;
  readonly eps: number;
}

/** Every `.onnx` below the folders; without folders, the fixtures. */
export function sourcesIn(folders: readonly string[], only?: RegExp): Source[] {
  const all = folders.length === 0 ? fixtures() : folders.flatMap(inside);
  return only ? all.filter(({ name }) => only.test(name)) : all;
}

export function fixtures(): Source[] {
  return KINDS.flatMap((kind) => modelNames(kind).map((name): Source => ({ name, kind })));
}

function inside(folder: string): Source[] {
  return fs
    .readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.onnx'))
    .map((file): Source => ({ name: file.slice(0, -'.onnx'.length).replaceAll(path.sep, '/'), folder }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

export function open({ name, folder, kind = 'exports' }: Source): Opened {
  if (folder === undefined) return { name, io: undefined, ...openModel(kind, name) };
  const io = path.join(folder, `${name}.io.safetensors`);
  return { name, model: path.join(folder, `${name}.onnx`), io: fs.existsSync(io) ? io : undefined };
}

/** Results of PyTorch for the architecture of an export, if there are any; the weights may be others. */
export function referenceFor(name: string): OpenedReference | undefined {
  const architecture = referenceNames().find((each) => path.basename(name).startsWith(`${each}-`));
  if (architecture === undefined) return undefined;
  const { lambda, io, settings } = openReference(architecture);
  return { lambda, io, eps: settings.eps };
}
