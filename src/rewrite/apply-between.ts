import { isLayout } from '../analyse';
import type { LocatedSite } from '../attention/find';
import type { Branch } from '../attention/site';
import type { Node, Value } from '../ir';
import type { PerColumn } from '../match/between';
import { positions } from '../match/weight-layout';
import { attribute } from './attributes';
import type { Builder } from './builder';
import { rowsAt } from './columns';
import { makeTensor } from './tensors';

/**
 * Copies the operators that the model applies to a packed projection as a whole, for the columns of one side. What has a
 * number for each column gets those of the side; layout between them is left out.
 * @param projected what the second projection gave: [.., columns], or [batch, columns, ..] behind a convolution
 */
export function applyBetween(builder: Builder, site: LocatedSite, branch: Branch, projected: Value): Value {
  const { between, projection } = branch;
  const standIns = new Map<Value, Value>([[projection.output, projected]]);
  let result = projected;
  for (const { node, perColumn } of between) {
    const inputs = node.inputs.map((input, index) => {
      const numbers = perColumn.find((each) => each.index === index);
      if (numbers) return pickedNumbers(builder, site, branch, node, numbers);
      return input && (standIn(input, standIns) ?? input);
    });
    const output = node.is('BatchNormalization')
      ? normalise(builder, branch, node, inputs)
      : builder.copy(node, inputs, '/negative')[0];
    const [own] = node.outputs;
    if (!output || !own) throw new Error(`${node.label}: no output`);
    standIns.set(own, output);
    result = output;
  }
  return result;
}

/** What stands in for a value, whatever layout it went through since. */
function standIn(value: Value, standIns: ReadonlyMap<Value, Value>): Value | undefined {
  const found = standIns.get(value);
  const node = value.producer;
  const [source] = node?.inputs ?? [];
  return found ?? (node && isLayout(node) && source ? standIn(source, standIns) : undefined);
}

/** The numbers of the columns of a side, as a vector that broadcasts against them. */
function pickedNumbers(
  builder: Builder,
  site: LocatedSite,
  { columns, projection }: Branch,
  node: Node,
  { index, tensor, layout, castTo }: PerColumn,
): Value {
  const { model } = builder.graph;
  const all = positions(layout.columns, layout.offset);
  const starts = columns.map((column) => all[column] ?? 0);
  const behind = projection.kind === 'convolution' && !node.is('BatchNormalization');
  const shape = [columns.length, ...(behind ? Array(projection.view.axes.length - 2).fill(1) : [])];
  const picked = makeTensor(tensor.dataType ?? 0, shape, rowsAt(model, tensor, starts, Int32Array.of(0)));
  const value = builder.constant(`${site.path}/${node.label}/${index}`, picked);
  return castTo === undefined
    ? value
    : builder.op('Cast', [value], { attributes: [attribute.int('to', castTo)] });
}

/** A BatchNormalization has its channels on axis 1: rows of a linear layer are laid one under the other. */
function normalise(
  builder: Builder,
  { projection, columns }: Branch,
  node: Node,
  [input, ...numbers]: readonly (Value | undefined)[],
): Value | undefined {
  if (!input) return undefined;
  if (projection.kind === 'convolution') return builder.copy(node, [input, ...numbers], '/negative')[0];
  const rows = builder.op('Reshape', [input, builder.ints([-1, columns.length])]);
  const [normed] = builder.copy(node, [rows, ...numbers], '/negative');
  return normed && builder.op('Reshape', [normed, builder.op('Shape', [input])]);
}
