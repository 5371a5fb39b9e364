import type { LocatedSite } from '../attention/find';
import { presetOf } from '../attention/presets';
import type { FunctionForm, RewriteRecord, RewrittenLayer } from '../attention/record';
import type { Model } from '../ir';
import { matchLayers } from './layer-order';
import { type Check, CheckBuilder } from './report';

/** Checks that the rewritten model comes from this original, and that what it says of its layers is true of it. */
export function checkRecord(original: Model, record: RewriteRecord, sites: readonly LocatedSite[]): Check {
  const check = new CheckBuilder('record', 'the rewritten model was made from this original');
  if (record.sourceHash === original.file.sha256()) check.count();
  else
    check.find(`it was made from a model with SHA-256 ${record.sourceHash}, not from ${original.file.path}`);
  const layers: readonly unknown[] = Array.isArray(record.layers) ? record.layers : [];
  const readable = layers.filter(isLayer);
  layers.forEach((layer, index) => {
    if (!isLayer(layer)) check.find(`its record of layer ${index} cannot be read`);
  });
  const matched = matchLayers({ ...record, layers: readable }, sites);
  for (const layer of readable) {
    const site = matched.find((each) => each.layer === layer)?.site;
    checkLayer(layer, site, record, check);
  }
  if (layers.length === 0) check.find('it names no rewritten layer');
  for (const site of sites) {
    if (!isChosen(site, record) || matched.some((each) => each.site === site)) continue;
    check.find(`${site.path}: should be rewritten by the recorded options, and is not`, site.path);
  }
  return check.done();
}

/** Values that a layer of each form starts from, whatever else there is. */
const STARTS: Readonly<Record<FunctionForm, readonly string[]>> = {
  scores: ['Q1', 'K1', 'Q2', 'K2', 'V'],
  probabilities: ['A1', 'A2', 'V'],
  outputs: ['Y1', 'Y2'],
};

/** What the metadata says may be anything: somebody may have edited it. */
function isLayer(layer: unknown): layer is RewrittenLayer {
  const { path, form, output, attended, start } = (layer ?? {}) as Partial<RewrittenLayer>;
  if (typeof path !== 'string' || typeof output !== 'string' || typeof attended !== 'string') return false;
  if (form === undefined || !Object.hasOwn(STARTS, form) || typeof start !== 'object') return false;
  return STARTS[form].every((key) => typeof start[key] === 'string');
}

function checkLayer(
  layer: RewrittenLayer,
  site: LocatedSite | undefined,
  { options }: RewriteRecord,
  check: CheckBuilder,
): void {
  const { path, epsilon } = layer;
  const facts = ['path', 'depth', 'heads', 'kvHeads', 'headWidth', 'valueWidth'] as const;
  const wrong = facts.find((fact) => site?.[fact] !== layer[fact]);
  if (!site || wrong === 'path') check.find(`${path}: the original has no such attention`, path);
  else if (wrong) check.find(`${path}: ${wrong} is ${site[wrong]}, the record says ${layer[wrong]}`, path);
  else check.count();
  const { sublayerNorm, normEps } = options;
  const wanted = normEps ?? presetOf(options).normEps ?? epsilon;
  if (sublayerNorm ? epsilon !== undefined && epsilon > 0 && epsilon === wanted : epsilon === undefined)
    check.count();
  else check.find(`${path}: epsilon ${epsilon} is not what the recorded options say`, path);
}

/** True for attentions that the recorded options tell to rewrite. */
function isChosen({ depth }: LocatedSite, { options }: RewriteRecord): boolean {
  // With --allow-partial, what could not be rewritten was left.
  if (options.allowPartial) return false;
  if (options.layers === undefined) return true;
  return options.layers.split(',').some((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return first !== undefined && last !== undefined && depth >= first && depth <= last;
  });
}
