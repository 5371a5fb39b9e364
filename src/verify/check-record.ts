import type { LocatedSite } from '../attention/find';
import type { RewriteRecord } from '../attention/record';
import type { Model } from '../ir';
import { type Check, CheckBuilder } from './report';

/** Checks that the rewritten model comes from this original, and that what it says of its layers is true of it. */
export function checkRecord(original: Model, record: RewriteRecord, sites: readonly LocatedSite[]): Check {
  const check = new CheckBuilder('record', 'the rewritten model was made from this original');
  if (record.sourceHash === original.file.sha256()) check.count();
  else
    check.find(`it was made from a model with SHA-256 ${record.sourceHash}, not from ${original.file.path}`);
  for (const layer of record.layers) {
    const site = sites.find(({ core }) => core.output.name === layer.output);
    const same =
      site?.path === layer.path &&
      site.heads === layer.heads &&
      site.kvHeads === layer.kvHeads &&
      site.headWidth === layer.headWidth &&
      site.valueWidth === layer.valueWidth;
    if (same) check.count();
    else check.find(`${layer.path}: the original has no such attention`, layer.path);
  }
  if (record.layers.length === 0) check.find('it names no rewritten layer');
  return check.done();
}
