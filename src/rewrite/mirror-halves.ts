import { constantSource, elementCount, tensorShape } from '../analyse';
import type { LocatedSite } from '../attention/find';
import { projectedSides, type Side } from '../attention/site';
import type { Model, Value } from '../ir';
import { fail } from '../match/outcome';
import type { TensorProto } from '../onnx';
import { overwriteColumns } from './columns';
import { makeTensor } from './tensors';

/**
 * `--mirror-weights` with split heads: the second half of the query and key heads becomes a copy of the first, in the
 * model's own weights.
 */
export function mirrorHalves(site: LocatedSite, model: Model): void {
  for (const side of projectedSides(site)) {
    const { columns, projection } = side;
    const half = columns.length / 2;
    const from = columns.subarray(0, half);
    const to = columns.subarray(half);
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
