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
  for (let at: Value | undefined = value; at; ) {
    const found = standIns.get(at);
    if (found) return found;
    const { producer }: Value = at;
    at = producer && isLayout(producer) ? producer.inputs[0] : undefined;
  }
  return undefined;
}

/** The numbers of the columns of a side, as a vector that broadcasts against them; quantized as the model's are. */
function pickedNumbers(
  builder: Builder,
  site: LocatedSite,
  branch: Branch,
  node: Node,
  { dequantize, ...numbers }: PerColumn,
): Value {
  const { projection } = branch;
  const behind = projection.kind === 'convolution' && !node.is('BatchNormalization');
  const axes = behind ? projection.view.axes.length - 2 : 0;
  const name = `${site.path}/${node.label}/${numbers.index}`;
  const picked = pickedVector(builder, branch, name, numbers, axes);
  if (!dequantize) return picked;
  const [, ...scales] = dequantize.node.inputs.map((input, index) => {
    const own = dequantize.perColumn.find((each) => each.index === index);
    return own ? pickedVector(builder, branch, `${name}/${index}`, own, 0) : input;
  });
  const axis = dequantize.perColumn.length > 0 ? [attribute.int('axis', 0)] : [];
  const [value] = builder.copy(dequantize.node, [picked, ...scales], '/negative', axis);
  if (!value) throw new Error(`${dequantize.node.label}: no output`);
  return value;
}

/** @param axes how many of size 1 stand behind that of the columns */
function pickedVector(
  builder: Builder,
  { columns }: Branch,
  name: string,
  { tensor, layout, castTo }: Omit<PerColumn, 'dequantize'>,
  axes: number,
): Value {
  const all = positions(layout.columns, layout.offset);
  const starts = columns.map((column) => all[column] ?? 0);
  const bytes = rowsAt(builder.graph.model, tensor, starts, Int32Array.of(0));
  const shape = [columns.length, ...Array<number>(axes).fill(1)];
  const value = builder.constant(name, makeTensor(tensor.dataType ?? 0, shape, bytes));
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
