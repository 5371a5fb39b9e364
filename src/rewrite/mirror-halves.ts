import { constantSource, elementCount, tensorShape } from '../analyse';
import type { LocatedSite } from '../attention/find';
import type { Pairing } from '../attention/presets';
import { projectedSides, type Side } from '../attention/site';
import type { Model, Value } from '../ir';
import { fail } from '../match/outcome';
import type { TensorProto } from '../onnx';
import { overwriteColumns } from './columns';
import { negativeHeads, positiveHeads } from './pairing';
import { makeTensor } from './tensors';

/**
 * `--mirror-weights` with split heads: the negative query and key heads become copies of the positive ones they are
 * paired with, in the model's own weights. A key head that serves both of a pair stays.
 */
export function mirrorHalves(site: LocatedSite, model: Model, pairing: Pairing): void {
  const positive = positiveHeads(pairing, site.heads);
  const negative = negativeHeads(pairing, site.heads);
  for (const side of projectedSides(site)) {
    const { projection } = side;
    const own = (head: number) => Math.floor(head / (site.heads / side.heads));
    const sources = negative.map((head, pair) => [own(head), own(positive[pair] ?? 0)] as const);
    const copied = [...new Map(sources.filter(([head, source]) => head !== source))];
    const from = columnsOf(
      side,
      copied.map(([, source]) => source),
    );
    const to = columnsOf(
      side,
      copied.map(([head]) => head),
    );
    const { outFeatures, outFirst, quantized } = projection;
    const stored = quantized?.parts ?? [
      { value: projection.weight, tensor: projection.tensor, layout: outFirst ? 'rows' : 'columns' },
    ];
    for (const { value, tensor, layout } of stored) {
      if (layout === 'shared') continue;
      replace(model, side, value, tensor, (current) =>
        overwriteColumns(model, current, { columns: outFeatures, outFirst: layout === 'rows' }, from, to),
      );
    }
    if (projection.bias) {
      const { offset, tensor } = projection.bias;
      const shift = (column: number) => column + offset;
      const vector = { columns: elementCount(tensorShape(tensor)), outFirst: true };
      replace(model, side, projection.bias.value, projection.bias.tensor, (tensor) =>
        overwriteColumns(model, tensor, vector, from.map(shift), to.map(shift)),
      );
    }
  }
}

/** The columns of some heads of a side. */
function columnsOf({ columns, width }: Side, heads: readonly number[]): Int32Array {
  return Int32Array.from(heads.flatMap((head) => [...columns.subarray(head * width, (head + 1) * width)]));
}

function replace(
  model: Model,
  side: Side,
  operand: Value,
  tensor: TensorProto,
  overwrite: (tensor: TensorProto) => ReturnType<typeof overwriteColumns>,
): void {
  const source = storedIn(operand);
  const current = source.initializer;
  if (!current || source.isInput) {
    fail(
      'weight-not-constant',
      side.projection.node,
      'weights stored as initializers',
      `'${tensor.name ?? ''}'`,
    );
  }
  const shape = current.dims.map(Number);
  const { name } = source;
  model.replaceInitializer(source, { ...makeTensor(current.dataType ?? 0, shape, overwrite(current)), name });
}

/** The initializer behind the operators that stand in front of a weight. */
function storedIn(value: Value): Value {
  const source = constantSource(value);
  const inner = source.producer?.is('Transpose') ? source.producer.inputs[0] : undefined;
  return inner ? storedIn(inner) : source;
}
