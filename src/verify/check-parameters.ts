import { createHash } from 'node:crypto';
import type { RewriteRecord } from '../attention/record';
import type { Model } from '../ir';
import type { ByteRange } from '../onnx';
import { type Check, CheckBuilder } from './report';
import { sameBytes } from './structure';

/**
 * Checks that every new parameter holds what the recorded options say: the initial values, or what the checkpoint had
 * when it was loaded.
 */
export function checkParameters(
  rewritten: Model,
  record: RewriteRecord,
  expected: ReadonlyMap<string, ByteRange>,
): Check {
  const check = new CheckBuilder('parameters', 'every new parameter holds what the recorded options say');
  for (const [name, bytes] of expected) {
    const layer = record.layers.find(({ path }) => name.startsWith(`${path}.`))?.path;
    const tensor = rewritten.graph.values.get(name)?.initializer;
    if (!tensor) {
      check.find(`parameter '${name}' is missing`, layer);
      continue;
    }
    const stored = rewritten.file.tensorBytes(tensor);
    const loaded = record.loaded[name];
    const same = loaded === undefined ? sameBytes(stored, bytes) : hash(stored) === loaded;
    if (same) check.count();
    else check.find(`parameter '${name}' is not what diffx wrote`, layer);
  }
  for (const [name, digest] of Object.entries(record.loaded)) {
    if (expected.has(name)) continue;
    const tensor = rewritten.graph.values.get(name)?.initializer;
    if (tensor && hash(rewritten.file.tensorBytes(tensor)) === digest) check.count();
    else check.find(`weight '${name}' is not what the checkpoint had`);
  }
  return check.done();
}

function hash(bytes: ByteRange): string {
  const digest = createHash('sha256');
  for (const chunk of bytes.chunks()) digest.update(chunk);
  return digest.digest('hex');
}
