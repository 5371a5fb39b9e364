import { passes } from '../../passes';
import { findAttention } from '../attention/find';
import { readRecord } from '../attention/record';
import { errors } from '../errors';
import { load, type Model } from '../ir';
import { type ByteRange, readModel } from '../onnx';
import { keepsFunction, parseLayers } from '../rewrite/options';
import { planParameters } from '../rewrite/parameters';
import { prepare } from '../rewrite/prepare';
import { startRuntime } from '../runtime';
import type { VerifyReport } from '../verify/report';
import { type Pair, type VerifySettings, verifyPair } from '../verify/verify';

/**
 * Proves that a rewritten model is what diffx meant to make of the original.
 * @throws DiffxError for models that cannot be read, were not rewritten by diffx, or do not run at all
 */
export async function verifyModels(
  original: string,
  rewritten: string,
  settings: VerifySettings = {},
): Promise<VerifyReport> {
  // It starts while the models are read.
  startRuntime();
  return verifyPair(makePair(original, rewritten), settings);
}

function makePair(originalPath: string, rewrittenPath: string): Pair {
  const original = load(readModel(originalPath));
  const rewritten = load(readModel(rewrittenPath));
  const record = readRecord(rewritten);
  if (!record) throw errors.notRewritten(rewrittenPath);
  const prepareOriginal = (model: Model) => prepare(model, passes);
  const prepared = prepareOriginal(original);
  const { sites } = findAttention(original, passes.recognisers);
  const { options } = record;
  const layers = options.layers === undefined ? undefined : parseLayers(options.layers);
  const { normEps, monitorLayers } = options;
  const complete = { ...options, normEps, monitorLayers, layers };
  const rewrittenPaths = new Set(record.layers.map(({ path }) => path));
  const expectedParameters = new Map<string, ByteRange>();
  for (const site of sites) {
    if (!rewrittenPaths.has(site.path)) continue;
    for (const { path, suffix, tensor } of planParameters(original, site, complete)) {
      expectedParameters.set(`${path}.${suffix}`, original.file.tensorBytes(tensor));
    }
  }
  // A checkpoint may have replaced what the initial values kept.
  const loaded = Object.keys(record.loaded).length > 0;
  return {
    original,
    rewritten,
    record,
    sites,
    keepsFunction: keepsFunction(options) && !loaded,
    expectedParameters,
    prepared,
    prepareOriginal,
  };
}
