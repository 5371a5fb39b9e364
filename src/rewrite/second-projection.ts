import type { LeadAtom, View } from '../analyse';
import type { LocatedSite } from '../attention/find';
import type { Side } from '../attention/site';
import type { Value } from '../ir';
import { fail } from '../match/outcome';
import type { QuantizedWeights } from '../match/quantized-projection';
import { leadAtoms } from '../match/side';
import { attribute } from './attributes';
import type { Builder } from './builder';
import { partName } from './quantized';

/**
 * A second projection for one side, laid out like the separated value of that side, so that the operators behind it
 * can be copied without looking at them.
 * @param name `q2_proj` or `k2_proj`
 * @param parameters the new parameters of the layer: weight [heads * width, in], head-major, or the parts of a quantized
 *   one, and bias [heads * width] where the model's own projection has one
 * @param shape makes the shape of the result; by default that of the separated value
 */
export function secondProjection(
  builder: Builder,
  site: LocatedSite,
  side: Side,
  name: string,
  parameters: ReadonlyMap<string, Value>,
  shape = () => builder.op('Shape', [side.separated]),
): Value {
  const bias = parameters.get(`${name}.bias`);
  let value = side.projection.quantized
    ? projectQuantized(builder, side, side.projection.quantized, name, parameters, bias)
    : project(builder, side, name, parameters.get(`${name}.weight`), bias);
  for (const node of side.between) {
    const inputs = node.inputs.map((input) => (input && isComputed(input, side) ? value : input));
    const [output] = builder.copy(node, inputs, '/negative');
    if (output) value = output;
  }
  return arrange(builder, site, side, value, shape);
}

/** Copies the operators of a quantized projection with the new stored tensors. */
function projectQuantized(
  builder: Builder,
  side: Side,
  quantized: QuantizedWeights,
  name: string,
  parameters: ReadonlyMap<string, Value>,
  bias: Value | undefined,
): Value {
  const standIns = new Map<Value, Value>();
  let result: Value | undefined;
  for (const node of quantized.chain) {
    const inputs = node.inputs.map((input, index) => {
      const part = quantized.parts.find((each) => each.node === node && each.index === index);
      return part
        ? parameters.get(`${name}.${partName(part.role)}`)
        : input && (standIns.get(input) ?? input);
    });
    const columns = node.int('N') === undefined ? [] : [attribute.int('N', side.columns.length)];
    const outputs = builder.copy(node, inputs, '/negative', columns);
    node.outputs.forEach((output, index) => {
      const copy = outputs[index];
      if (output && copy) standIns.set(output, copy);
    });
    result = outputs[0];
  }
  if (!result) throw new Error(`${name}: a projection without operators`);
  return bias ? builder.op('Add', [result, bias], { name: `${name}/Add` }) : result;
}

function isComputed(input: Value, side: Side): boolean {
  const path = new Set<Value>([
    side.projection.output,
    ...side.between.flatMap((node) => node.outputs.flatMap((v) => v ?? [])),
  ]);
  for (let value: Value | undefined = input; value; value = value.producer?.inputs[0])
    if (path.has(value)) return true;
  return false;
}

function project(
  builder: Builder,
  side: Side,
  name: string,
  weight: Value | undefined,
  bias: Value | undefined,
): Value {
  if (!weight) throw new Error(`${name}: no weight`);
  const { node, input } = side.projection;
  if (node.is('Gemm')) {
    return builder.op('Gemm', bias ? [input, weight, bias] : [input, weight], {
      attributes: [attribute.int('transB', 1)],
      name: `${name}/Gemm`,
    });
  }
  const columns = builder.op('Transpose', [weight], {
    attributes: [attribute.ints('perm', [1, 0])],
    name: `${name}/Transpose`,
  });
  const product = builder.op('MatMul', [input, columns], { name: `${name}/MatMul` });
  return bias ? builder.op('Add', [product, bias], { name: `${name}/Add` }) : product;
}

/** An axis of a layout: a leading axis of the projection, or one of the units of its columns. */
type Piece = { readonly lead: LeadAtom } | { readonly unit: number };

/** Brings [leading axes, heads * width] into the layout of the separated value. */
function arrange(builder: Builder, site: LocatedSite, side: Side, value: Value, shape: () => Value): Value {
  const { view, projection } = side;
  const leads = leadAtoms(view);
  const axes = view.axes.map((axis) => piecesOf(axis, side));
  if (!leads || axes.some((axis) => axis === undefined)) {
    fail(
      'layout-lost',
      projection.node,
      'a layout of batch, sequence, heads and width',
      'a layout that cannot be made again',
    );
  }
  const target = axes.map((axis) => axis ?? []);
  const units = side.units.flatMap(({ size }, unit) => (size > 1 ? [{ unit }] : []));
  const source: Piece[] = [...leads.map((lead) => ({ lead })), ...units];
  const order = target.flat().map((piece) => source.findIndex((each) => samePiece(each, piece)));
  const inPlace = order.every((from, to) => from === to);
  const asProjected =
    inPlace &&
    leads.every((lead) => lead.order?.length === 1) &&
    target.length === side.projectionRank &&
    target.at(-1)?.length === units.length &&
    target.slice(0, -1).every((axis) => axis.length <= 1);
  if (asProjected) return value;
  const divided = builder.op('Reshape', [value, dividedShape(builder, site, side, leads)]);
  const moved = inPlace ? divided : builder.transpose(divided, order);
  return builder.op('Reshape', [moved, shape()]);
}

function samePiece(a: Piece, b: Piece): boolean {
  if ('lead' in a) return 'lead' in b && a.lead === b.lead;
  return 'unit' in b && a.unit === b.unit;
}

function piecesOf(axis: View['axes'][number], side: Side): Piece[] | undefined {
  const pieces: Piece[] = [];
  for (const atom of axis) {
    if (atom.kind === 'repeat') return undefined;
    if (atom.kind === 'lead') {
      pieces.push({ lead: atom });
      continue;
    }
    const { stride, size } = atom;
    if (stride === undefined || size.value === undefined) return undefined;
    const end = stride * size.value;
    const inside = side.units
      .map((unit, index) => ({ ...unit, index }))
      .filter((unit) => unit.size > 1 && unit.stride >= stride && unit.stride < end)
      .sort((a, b) => b.stride - a.stride);
    if (inside.reduce((all, unit) => all * unit.size, 1) !== size.value) return undefined;
    pieces.push(...inside.map(({ index }) => ({ unit: index })));
  }
  return pieces;
}

/** The shape [leading atoms, units] for a Reshape of [leading axes, heads * width]. */
function dividedShape(builder: Builder, site: LocatedSite, side: Side, leads: readonly LeadAtom[]): Value {
  const { view, separated, projection } = side;
  const parts: (number | Value)[] = [];
  let open = false;
  for (const [index, lead] of leads.entries()) {
    const known = lead.size.value;
    const axis = view.axes.findIndex((atoms) => atoms.length === 1 && atoms[0] === lead);
    if (known !== undefined) parts.push(known);
    else if (lead.order?.length === 1 && lead.order[0] === index) parts.push(0);
    else if (axis >= 0) parts.push(builder.shapePart(separated, axis, axis + 1));
    else if (!open) {
      parts.push(-1);
      open = true;
    } else {
      fail('layout-lost', projection.node, `at most one unknown size before '${site.path}'`, 'several');
    }
  }
  parts.push(...side.units.map(({ size }) => size).filter((size) => size > 1));
  return joinShape(builder, parts);
}

/** A shape vector of numbers and of one-element vectors. */
export function joinShape(builder: Builder, parts: readonly (number | Value)[]): Value {
  const vectors: Value[] = [];
  let run: number[] = [];
  const flush = () => {
    if (run.length > 0) vectors.push(builder.ints(run));
    run = [];
  };
  for (const part of parts) {
    if (typeof part === 'number') {
      run.push(part);
    } else {
      flush();
      vectors.push(part);
    }
  }
  flush();
  return builder.concat(vectors, 0);
}
