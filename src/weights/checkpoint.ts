/**
 * A checkpoint in the forms that people have one: a safetensors file, the `.index.json` of a sharded checkpoint
 * (Hugging Face transformers: `weight_map` gives the file of each tensor), or the folder that holds either.
 */
import { basename, dirname, join } from 'node:path';
import { errors } from '../errors';
import { isFolder, namesIn } from '../onnx/folders';
import { openSource } from '../onnx/source';
import { duplicateKey } from './duplicate-key';
import { openSafetensorsFile, type Safetensors, type StoredTensor } from './safetensors';

/**
 * Opens a safetensors file, an index (any `.json`) or a folder. A folder's `model.safetensors` comes before its
 * `model.safetensors.index.json`, as in transformers; without either, all its safetensors files count as one.
 * @throws DiffxError with exit code 2, naming the file and where it applies the tensor
 */
export function openSafetensors(path: string): Safetensors {
  if (isFolder(path)) return openFolder(path);
  return path.endsWith('.json') ? openIndex(path) : openSafetensorsFile(path);
}

function openFolder(folder: string): Safetensors {
  const files = namesIn(folder);
  if (files.includes('model.safetensors')) return openSafetensorsFile(join(folder, 'model.safetensors'));
  if (files.includes('model.safetensors.index.json'))
    return openIndex(join(folder, 'model.safetensors.index.json'));
  const parts = files.filter((file) => file.endsWith('.safetensors'));
  if (parts.length === 0) throw errors.noCheckpoint(folder);
  return union(
    folder,
    parts.map((file) => openSafetensorsFile(join(folder, file))),
  );
}

/** Several files as one. */
function union(path: string, parts: readonly Safetensors[]): Safetensors {
  const tensors = new Map<string, StoredTensor>();
  for (const part of parts) {
    for (const name of part.names) {
      const earlier = tensors.get(name);
      if (earlier)
        throw errors.safetensorsTensor(
          part.path,
          name,
          `is also in ${basename(earlier.file)} of the same folder`,
        );
      tensors.set(name, part.get(name) as StoredTensor);
    }
  }
  const metadata = Object.assign({}, ...parts.map((part) => part.metadata));
  return { path, names: [...tensors.keys()], get: (name) => tensors.get(name), metadata };
}

function openIndex(path: string): Safetensors {
  const { weightMap, metadata } = readIndex(path);
  const shards = new Map<string, Safetensors>();
  const tensors = new Map<string, StoredTensor>();
  for (const [name, file] of weightMap) {
    const shard = shards.get(file) ?? openShard(path, file);
    shards.set(file, shard);
    const tensor = shard.get(name);
    if (!tensor) throw errors.safetensorsTensor(path, name, `is not in ${file}, where the index says it is`);
    tensors.set(name, tensor);
  }
  return { path, names: [...tensors.keys()], get: (name) => tensors.get(name), metadata };
}

/** A shard lies beside its index: an index from elsewhere must not make diffx read other files. */
function openShard(indexPath: string, file: string): Safetensors {
  if (file !== basename(file) || file === '..')
    throw errors.checkpointIndex(indexPath, `shard '${file}' is not the name of a file beside it`);
  return openSafetensorsFile(join(dirname(indexPath), file));
}

function readIndex(path: string): { weightMap: [string, string][]; metadata: Record<string, string> } {
  const source = openSource(path);
  const text = Buffer.from(source.range(0, source.length).read()).toString('utf8');
  let index: unknown;
  try {
    index = JSON.parse(text);
  } catch (error) {
    throw errors.checkpointIndex(path, `not valid JSON: ${(error as Error).message}`);
  }
  const { weight_map: map, metadata } = (index ?? {}) as { weight_map?: unknown; metadata?: unknown };
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    throw errors.checkpointIndex(path, 'it has no weight_map');
  const duplicate = duplicateKey(text);
  if (duplicate !== undefined) throw errors.checkpointIndex(path, `it has two keys '${duplicate}'`);
  const weightMap = Object.entries(map);
  const wrong = weightMap.find(([, file]) => typeof file !== 'string');
  if (wrong) throw errors.checkpointIndex(path, `the file of '${wrong[0]}' is not a name`);
  const strings = Object.entries(metadata ?? {}).filter(([, value]) => typeof value === 'string');
  return { weightMap, metadata: Object.fromEntries(strings) };
}
