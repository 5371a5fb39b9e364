import type { LocatedSite } from '../../attention/find';
import { presetOf } from '../../attention/presets';
import type { RewriteRecord } from '../../attention/record';
import { type Branch, branchesOf, projectedSides } from '../../attention/site';
import type { Model } from '../../ir';
import { biasPositions, columnPositions, rowPositions } from '../../match/projection';
import { type ByteRange, byteSize, memoryBytes, type TensorProto } from '../../onnx';
import { matchLayers } from '../layer-order';

/** What the weights of the original hold in the rewritten model, where that is not what they held. */
export interface ExpectedWeights {
  /** Filled from a checkpoint: the check of parameters looks at them. */
  readonly loaded: ReadonlySet<string>;
  /** By name. */
  readonly changed: ReadonlyMap<string, ByteRange>;
}

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
  { projection, columns, heads }: Branch,
  original: Model,
  changed: Map<string, Uint8Array>,
  copies: ReadonlyMap<number, number>,
): void {
  const { tensor, bias } = projection;
  const bytesOf = (of: TensorProto) => {
    const bytes = changed.get(of.name ?? '') ?? new Uint8Array(original.bytes(of));
    changed.set(of.name ?? '', bytes);
    return bytes;
  };
  const width = columns.length / heads;
  const starts = columnPositions(projection, columns);
  const biases = bias && biasPositions(bias, columns);
  const row = rowPositions(projection);
  for (const [head, source] of copies) {
    for (let index = 0; index < width; index++) {
      const at = (all: Int32Array) =>
        [all[source * width + index] ?? 0, all[head * width + index] ?? 0] as const;
      const [from, to] = at(starts);
      for (const step of row) copyElement(bytesOf(tensor), tensor, from + step, to + step);
      if (bias && biases) copyElement(bytesOf(bias.tensor), bias.tensor, ...at(biases));
    }
  }
}

function copyElement(bytes: Uint8Array, tensor: TensorProto, from: number, to: number): void {
  const size = byteSize(tensor.dataType ?? 0, 1) ?? 0;
  bytes.copyWithin(to * size, from * size, (from + 1) * size);
}
