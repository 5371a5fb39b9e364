import type { LocatedSite } from '../../attention/find';
import type { RewriteRecord } from '../../attention/record';
import { type Check, CheckBuilder } from '../report';
import type { Correspondence } from './correspondence';
import { compareGraphs } from './graphs';
import { compareModels } from './models';
import { Owners } from './owners';
import { expectedWeights } from './weights';

export { Correspondence } from './correspondence';
export { sameBytes } from './same-bytes';

/**
 * Compares what lies outside the rewritten attentions: every node of the original that its outputs need beside the
 * rewritten products is still there, in the same order, reads the same values and has the same attributes; every weight
 * has the same bytes; inputs, outputs, types, functions, operator sets and metadata are the same.
 * @param sites all attentions of the original, rewritten or not
 */
export function checkStructure(
  map: Correspondence,
  record: RewriteRecord,
  sites: readonly LocatedSite[],
): Check {
  const check = new CheckBuilder(
    'structure',
    'everything outside the rewritten attentions is the original, byte for byte',
  );
  const { original, rewritten } = map;
  const weights = expectedWeights(original, record, sites);
  compareGraphs(original.graph, rewritten.graph, { map, weights, owners: new Owners(sites), check });
  compareModels(map, record, check);
  return check.done();
}
