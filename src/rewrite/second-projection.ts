import type { LeadAtom, View } from '../analyse';
import type { LocatedSite } from '../attention/find';
import type { Branch } from '../attention/site';
import type { Value } from '../ir';
import { fail } from '../match/outcome';
import type { Projection } from '../match/projection';
import type { QuantizedWeights } from '../match/quantized-parts';
import { leadAtoms } from '../match/side';
import { applyBetween } from './apply-between';
import { attribute } from './attributes';
import type { Builder } from './builder';
import { partName } from './quantized';

/**
 * A second projection beside one of the model's, laid out like the separated value of that one, so that the operators
 * behind it can be copied without looking at them.
 * @param name `q2_proj`, `k2_proj`, or `q2_proj.1` and so on for further projections of a side
 * @param parameters the new parameters of the layer: weight [columns, in], head-major, or the parts of a quantized
 *   one, and bias [columns] where the model's own projection has one
 * @param shape makes the shape of the result; by default that of the separated value
 */
export function secondProjection(
  builder: Builder,
  site: LocatedSite,
  branch: Branch,
  name: string,
  parameters: ReadonlyMap<string, Value>,
  shape = () => builder.op('Shape', [branch.separated]),
): Value {
  const { projection } = branch;
  const added = projection.bias && parameters.get(`${name}.bias`);
  const bias = asRead(builder, added, projection.bias?.castTo);
  const weight = asRead(builder, parameters.get(`${name}.weight`), projection.castTo);
  const projected = projection.quantized
    ? projectQuantized(builder, branch, projection.quantized, name, parameters, bias)
    : projection.kind === 'convolution'
      ? convolve(builder, branch, name, weight, bias)
      : project(builder, branch, name, weight, bias);
  return arrange(builder, site, branch, applyBetween(builder, site, branch, projected), shape);
}

/** A parameter in the element type that the model casts its own to. */
function asRead(builder: Builder, value: Value | undefined, castTo: number | undefined): Value | undefined {
  return value && castTo !== undefined
    ? builder.op('Cast', [value], { attributes: [attribute.int('to', castTo)] })
    : value;
}

/** Copies the operators of a quantized projection with the new stored tensors. */
function projectQuantized(
  builder: Builder,
  branch: Branch,
  quantized: QuantizedWeights,
  name: string,
  parameters: ReadonlyMap<string, Value>,
  bias: Value | undefined,
): Value {
  const standIns = new Map<Value, Value>();
  let result: Value | undefined;
  for (const node of quantized.chain) {
    const inputs = node.inputs.map((input, index) => {
      const part = quantized.parts.find(
        (each) => (each.node === node || each.twin === node) && each.index === index,
      );
      return part
        ? parameters.get(`${name}.${partName(part.role)}`)
        : input && (standIns.get(input) ?? input);
    });
    const columns = node.int('N') === undefined ? [] : [attribute.int('N', branch.columns.length)];
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

function project(
  builder: Builder,
  { projection }: Branch,
  name: string,
  weight: Value | undefined,
  bias: Value | undefined,
): Value {
  if (!weight) throw new Error(`${name}: no weight`);
  const { node, inputOrder } = projection;
  const input = inputOrder ? builder.transpose(projection.input, inputOrder) : projection.input;
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

/** The convolution with another weight. Columns in groups must stay in theirs. */
function convolve(
  builder: Builder,
  { projection, columns }: Branch,
  name: string,
  weight: Value | undefined,
  bias: Value | undefined,
): Value {
  const { node, input, outFeatures } = projection;
  const inOrder = columns.length === outFeatures && columns.every((column, index) => column === index);
  if ((node.int('group') ?? 1) !== 1 && !inOrder) {
    const wanted = 'a convolution in groups whose channels are those of one side, in the order of the heads';
    fail('projection-form', node, wanted, 'channels in another order, or of several sides');
  }
  const [output] = builder.copy(node, bias ? [input, weight, bias] : [input, weight], '/negative');
  if (!output) throw new Error(`${name}: no output`);
  return output;
}

/** An axis of a layout: a leading axis of the projection, or one of the units of its columns. */
type Piece = { readonly lead: LeadAtom } | { readonly unit: number };

/** Brings what `project` or `convolve` gave into the layout of the separated value. */
function arrange(
  builder: Builder,
  site: LocatedSite,
  branch: Branch,
  value: Value,
  shape: () => Value,
): Value {
  const { view, projection } = branch;
  const leads = leadAtoms(view);
  const axes = view.axes.map((axis) => piecesOf(axis, branch));
  if (!leads || axes.some((axis) => axis === undefined)) {
    fail(
      'layout-lost',
      projection.node,
      'a layout of batch, sequence, heads and width',
      'a layout that cannot be made again',
    );
  }
  const target = axes.map((axis) => axis ?? []);
  const units = branch.units.flatMap(({ size }, unit) => (size > 1 ? [{ unit }] : []));
  const before = leads.filter((lead) => standsBefore(lead, projection));
  const behind = leads.filter((lead) => !standsBefore(lead, projection));
  const source: Piece[] = [
    ...before.map((lead) => ({ lead })),
    ...units,
    ...behind.map((lead) => ({ lead })),
  ];
  const order = target.flat().map((piece) => source.findIndex((each) => samePiece(each, piece)));
  const inPlace = order.every((from, to) => from === to);
  const asProjected =
    inPlace &&
    behind.length === 0 &&
    leads.every((lead) => lead.order?.length === 1) &&
    target.length === projectedRank(projection) &&
    target.at(-1)?.length === units.length &&
    target.slice(0, -1).every((axis) => axis.length <= 1);
  if (asProjected) return value;
  // a single element, whose axes are as good as any
  if (source.length === 0) return builder.op('Reshape', [value, shape()]);
  const divided = builder.op('Reshape', [value, dividedShape(builder, site, branch, value, before, behind)]);
  const moved = inPlace ? divided : builder.transpose(divided, order);
  return builder.op('Reshape', [moved, shape()]);
}

/** A convolution has its columns behind the batch, a linear layer has them last. */
function standsBefore(lead: LeadAtom, { kind }: Projection): boolean {
  return kind === 'linear' || lead.order?.[0] === 0;
}

/** Number of axes of what `project` or `convolve` gives. */
function projectedRank({ kind, view, inputRank }: Projection): number {
  return kind === 'linear' ? inputRank : view.axes.length;
}

function samePiece(a: Piece, b: Piece): boolean {
  if ('lead' in a) return 'lead' in b && a.lead === b.lead;
  return 'unit' in b && a.unit === b.unit;
}

function piecesOf(axis: View['axes'][number], { units }: Branch): Piece[] | undefined {
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
    const inside = units
      .map((unit, index) => ({ ...unit, index }))
      .filter((unit) => unit.size > 1 && unit.stride >= stride && unit.stride < end)
      .sort((a, b) => b.stride - a.stride);
    if (inside.reduce((all, unit) => all * unit.size, 1) !== size.value) return undefined;
    pieces.push(...inside.map(({ index }) => ({ unit: index })));
  }
  return pieces;
}

/** The shape [leading atoms, units, leading atoms behind them] for a Reshape of what was projected. */
function dividedShape(
  builder: Builder,
  site: LocatedSite,
  { view, separated, projection, units }: Branch,
  projected: Value,
  before: readonly LeadAtom[],
  behind: readonly LeadAtom[],
): Value {
  let open = false;
  const part = (lead: LeadAtom, index: number): number | Value => {
    const known = lead.size.value;
    const axis = view.axes.findIndex((atoms) => atoms.length === 1 && atoms[0] === lead);
    const own = lead.order?.length === 1 ? lead.order[0] : undefined;
    if (known !== undefined) return known;
    if (own === index) return 0;
    if (axis >= 0) return builder.shapePart(separated, axis, axis + 1);
    if (own !== undefined) {
      const at = projection.kind === 'convolution' && own > 0 ? own + 1 : own;
      return builder.shapePart(projected, at, at + 1);
    }
    if (open)
      fail('layout-lost', projection.node, `at most one unknown size before '${site.path}'`, 'several');
    open = true;
    return -1;
  };
  return joinShape(builder, [
    ...before.map((lead, index) => part(lead, index)),
    ...units.map(({ size }) => size).filter((size) => size > 1),
    ...behind.map((lead) => part(lead, -1)),
  ]);
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
