/** The exports to measure: those of the repository, or those in folders. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { exportNames, openExport, openReference, referenceNames } from '../support/fixtures';

/** One export, before anything is unpacked. */
export interface Source {
  readonly name: string;
  /** Undefined for the fixtures of the repository. */
  readonly folder?: string;
}

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
  const all =
    folders.length === 0 ? exportNames().map((name): Source => ({ name })) : folders.flatMap(inside);
  return only ? all.filter(({ name }) => only.test(name)) : all;
}

function inside(folder: string): Source[] {
  return fs
    .readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.onnx'))
    .map((file): Source => ({ name: file.slice(0, -'.onnx'.length).replaceAll(path.sep, '/'), folder }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

export function open({ name, folder }: Source): Opened {
  if (folder === undefined) return { name, ...openExport(name) };
  const io = path.join(folder, `${name}.io.safetensors`);
  return { name, model: path.join(folder, `${name}.onnx`), io: fs.existsSync(io) ? io : undefined };
}

/** Results of PyTorch for the architecture of an export. Quantized variants compute something else. */
export function referenceFor(name: string): OpenedReference | undefined {
  const architecture = referenceNames().find((each) => name.startsWith(`${each}-`));
  if (architecture === undefined || /\+(?!external|fp16|ort)/.test(name)) return undefined;
  const { lambda, io, settings } = openReference(architecture);
  return { lambda, io, eps: settings.eps };
}
