import { constantSource } from '../analyse';
import type { LocatedSite } from '../attention/find';
import type { Pairing } from '../attention/presets';
import { type Branch, branchesOf, projectedSides, type Side } from '../attention/site';
import type { Model, Value } from '../ir';
import { fail } from '../match/outcome';
import { biasPositions, columnPositions, rowPositions } from '../match/projection';
import type { TensorProto } from '../onnx';
import { overwriteColumns, overwriteRows } from './columns';
import { negativeHeads, positiveHeads } from './pairing';
import { makeTensor } from './tensors';

/**
 * `--mirror-weights` with split heads: the negative query and key heads become copies of the positive ones they are
 * paired with, in the model's own weights. A key head that serves both of a pair stays.
 */
export function mirrorHalves(site: LocatedSite, model: Model, pairing: Pairing): void {
  for (const side of projectedSides(site))
    for (const branch of branchesOf(side)) mirrorBranch(site, side, branch, model, pairing);
}

function mirrorBranch(site: LocatedSite, side: Side, branch: Branch, model: Model, pairing: Pairing): void {
  const { projection, heads } = branch;
  // What all heads share is the same in both of a pair.
  if (heads === 1 && side.heads > 1) return;
  if (heads !== side.heads) {
    const found = `${heads} heads beside ${side.heads}`;
    fail('heads-do-not-divide', projection.node, 'as many heads in each projection, to copy half of', found);
  }
  if ((projection.node.int('group') ?? 1) > 1) {
    const wanted = 'heads that read the same channels, to copy half of them';
    fail('projection-form', projection.node, wanted, 'a convolution in groups');
  }
  const own = (head: number) => Math.floor(head / (site.heads / heads));
  const positive = positiveHeads(pairing, site.heads);
  const negative = negativeHeads(pairing, site.heads);
  const sources = negative.map((head, pair) => [own(head), own(positive[pair] ?? 0)] as const);
  const copied = [...new Map(sources.filter(([head, source]) => head !== source))];
  const places = (of: readonly number[]) => headPlaces(branch, of);
  const [from, to] = [places(copied.map(([, source]) => source)), places(copied.map(([head]) => head))];
  mirrorColumns(branch, from, to, model);
}

/** Places of the columns of some heads among those of a branch. */
function headPlaces({ columns, heads }: Branch, of: readonly number[]): Int32Array {
  const width = columns.length / heads;
  return Int32Array.from(of.flatMap((head) => Array.from({ length: width }, (_, at) => head * width + at)));
}

/** Copies what the columns at some places hold to those at others. */
function mirrorColumns(branch: Branch, from: Int32Array, to: Int32Array, model: Model): void {
  const { columns, projection } = branch;
  const { bias, outFeatures, quantized } = projection;
  const pick = (all: Int32Array, at: Int32Array) => at.map((place) => all[place] ?? 0);
  for (const { value, tensor, layout } of quantized?.parts ?? []) {
    if (layout === 'shared') continue;
    const all = { columns: outFeatures, outFirst: layout === 'rows' };
    replace(model, branch, constantSource(value), tensor, (current) =>
      overwriteColumns(model, current, all, pick(columns, from), pick(columns, to)),
    );
  }
  if (!quantized) {
    const all = columnPositions(projection, columns);
    replace(model, branch, projection.holder, projection.tensor, (current) =>
      overwriteRows(model, current, pick(all, from), pick(all, to), rowPositions(projection)),
    );
  }
  if (bias) {
    const all = biasPositions(bias, columns);
    replace(model, branch, bias.holder, bias.tensor, (current) =>
      overwriteRows(model, current, pick(all, from), pick(all, to), Int32Array.of(0)),
    );
  }
}

function replace(
  model: Model,
  branch: Branch,
  source: Value,
  tensor: TensorProto,
  overwrite: (tensor: TensorProto) => ReturnType<typeof overwriteColumns>,
): void {
  const current = source.initializer;
  if (!current || source.isInput) {
    fail(
      'weight-not-constant',
      branch.projection.node,
      'weights stored as initializers',
      `'${tensor.name ?? ''}'`,
    );
  }
  const shape = current.dims.map(Number);
  const { name } = source;
  model.replaceInitializer(source, { ...makeTensor(current.dataType ?? 0, shape, overwrite(current)), name });
}
