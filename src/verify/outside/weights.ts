import { constantTensor } from '../../analyse';
import type { LocatedSite } from '../../attention/find';
import { presetOf } from '../../attention/presets';
import type { RewriteRecord } from '../../attention/record';
import { type Branch, branchesOf, projectedSides } from '../../attention/site';
import type { Model } from '../../ir';
import { type ByteRange, memoryBytes } from '../../onnx';
import { branchParts, readColumns, replaceColumns } from '../columns';
import { matchLayers } from '../layer-order';

/** What the weights of the original hold in the rewritten model, where that is not what they held. */
export interface ExpectedWeights {
  /** Filled from a checkpoint: the check of parameters looks at them. */
  readonly loaded: ReadonlySet<string>;
  /** By name. */
  readonly changed: ReadonlyMap<string, ByteRange>;
}

/** Weights outside of the attentions that the options or a checkpoint change, as they must be in the rewritten model. */
export function expectedWeights(
  original: Model,
  record: RewriteRecord,
  sites: readonly LocatedSite[],
): ExpectedWeights {
  const changed = new Map<string, Uint8Array>();
  if (record.options.heads === 'split' && record.options.init === 'mirror') {
    for (const { site } of matchLayers(record, sites))
      for (const branch of projectedSides(site).flatMap(branchesOf))
        mirrorHeads(branch, original, changed, mirroredHeads(site, branch.heads, record));
  }
  return {
    loaded: new Set(Object.keys(record.loaded)),
    changed: new Map([...changed].map(([name, bytes]) => [name, memoryBytes(bytes)])),
  };
}

/**
 * `--mirror-weights` with split heads: the heads of one side that become copies, and what they are copies of. Heads of
 * the negative component that the positive one needs as well stay.
 */
function mirroredHeads(
  { heads }: LocatedSite,
  own: number,
  { options }: RewriteRecord,
): ReadonlyMap<number, number> {
  const copies = new Map<number, number>();
  const [next, step] = presetOf(options).pairing === 'halves' ? [heads / 2, 1] : [1, 2];
  for (let pair = 0; pair < heads / 2; pair++) {
    const [from, to] = [pair * step, pair * step + next].map((head) => Math.floor((head * own) / heads));
    if (from !== undefined && to !== undefined && from !== to) copies.set(to, from);
  }
  return copies;
}

function mirrorHeads(
  branch: Branch,
  original: Model,
  changed: Map<string, Uint8Array>,
  copies: ReadonlyMap<number, number>,
): void {
  const width = branch.columns.length / branch.heads;
  for (const part of branchParts(branch)) {
    const tensor = constantTensor(part.operand);
    if (part.layout === 'shared' || !tensor || copies.size === 0) continue;
    const name = tensor.name ?? '';
    const before = changed.get(name) ?? original.bytes(tensor);
    const columns = readColumns(part, before);
    const after = columns.map((own, place) => {
      const source = copies.get(Math.floor(place / width));
      return source === undefined ? own : (columns[source * width + (place % width)] ?? own);
    });
    changed.set(name, replaceColumns(part, before, after));
  }
}
