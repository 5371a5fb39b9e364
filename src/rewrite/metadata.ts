import { createHash } from 'node:crypto';
import { writeRecord } from '../attention/record';
import type { Model } from '../ir';
import type { LoadReport } from './load-weights';
import type { Monitoring } from './monitor';
import type { Separated } from './separate-weights';
import type { RewriteSession } from './session';

/** Records version, preset, options, layers and the hash of the source in the model. */
export function stampMetadata(
  session: RewriteSession,
  inputs: { readonly version: string; readonly sourceHash: () => string },
  weights: LoadReport | undefined,
  separated: Separated,
  { monitored }: Monitoring,
): void {
  const { model, options, layers } = session;
  const record = {
    version: inputs.version,
    options: { ...options, layers: options.layers?.text },
    layers,
    loaded: weights ? hashLoaded(model, weights) : {},
    monitored,
    separated,
  };
  writeRecord(model, record, inputs.sourceHash);
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
