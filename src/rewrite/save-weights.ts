import { constantTensor, tensorShape } from '../analyse';
import type { LocatedSite } from '../attention/find';
import type { Pairing, Preset } from '../attention/presets';
import { branchesOf, isProjected, projectedSides, type Side } from '../attention/site';
import { errors } from '../errors';
import type { Model, Value } from '../ir';
import { biasPositions, columnPositions, rowPositions } from '../match/projection';
import { type ByteRange, concatBytes, type DataType, type TensorProto } from '../onnx';
import { isFloatType } from '../onnx/floats';
import type { TensorToWrite } from '../weights/safetensors-write';
import { asPaired } from './checkpoint-rows';
import { rowsAt, transposedRows } from './columns';
import { oneOfEachPath } from './load-weights';
import { namedWeights } from './parameter-names';

/** Parameters of SPEC section 2 that the reference implementations call the same. */
const VECTORS = ['lambda_q1', 'lambda_k1', 'lambda_q2', 'lambda_k2'];
const SAME_NAME = [...VECTORS, 'subln.weight', 'lambda_proj.weight'];

/**
 * The attention modules of a rewritten model as the preset's reference implementation stores them: `q_proj.weight`
 * and `k_proj.weight` [out, in] with the rows of both components in the order of the preset, what lambda is computed
 * from, the norm, and what else of the module has a name in the model, such as `v_proj.weight`.
 * @param sites the rewritten attentions, as they were found in this model or in the one it was made from
 * @param nameOf the module path to write for the path of a site
 * @throws quantizedWeights where the model stores queries or keys quantized
 */
export function referenceWeights(
  model: Model,
  sites: readonly LocatedSite[],
  preset: Preset,
  nameOf: (path: string) => string,
): Map<string, TensorToWrite> {
  const tensors = new Map<string, TensorToWrite>();
  const rest = namedWeights(model);
  for (const site of oneOfEachPath(sites)) {
    const parts = new Map<string, TensorToWrite>();
    for (const suffix of preset.storesLambdaInit ? [...SAME_NAME, 'lambda_init'] : SAME_NAME) {
      const tensor = parameter(model, site, suffix);
      if (tensor) parts.set(suffix, asStored(model, tensor));
    }
    const { pairing } = preset;
    putSide(parts, model, site, 'q', site.query, pairing);
    if (isProjected(site.key)) putSide(parts, model, site, 'k', site.key, pairing);
    const own = ownTensors(model, site);
    for (const { value, name, transposed } of rest) {
      const suffix = name.startsWith(`${site.path}.`) ? name.slice(site.path.length + 1) : '';
      const tensor = value.initializer;
      if (suffix === '' || !tensor || own.has(tensor) || !isFloatType(tensor.dataType) || parts.has(suffix))
        continue;
      parts.set(suffix, transposed ? asTransposed(model, tensor) : asStored(model, tensor));
    }
    for (const [suffix, tensor] of parts) tensors.set(`${nameOf(site.path)}.${suffix}`, tensor);
  }
  return tensors;
}

/** Both projections of one side as one. */
function putSide(
  parts: Map<string, TensorToWrite>,
  model: Model,
  site: LocatedSite,
  letter: 'q' | 'k',
  side: Side,
  pairing: Pairing,
): void {
  const { projection, columns, further } = side;
  if (branchesOf(side).some((branch) => branch.projection.quantized))
    throw errors.quantizedWeights(site.path);
  if (further.length > 0) {
    putBranches(parts, model, site, `${letter}2_proj`, side);
    return;
  }
  const weight = current(model, projection.holder);
  const bias = projection.bias && current(model, projection.bias.holder);
  const named = site.names.get(side);
  const second = (part: string) =>
    named && model.graph.values.get(`${named.path}.${named.name}.${part}`)?.initializer;
  const order = (data: ByteRange) => asPaired(data, side.heads, pairing);
  if (weight) {
    const rows = rowsAt(model, weight, columnPositions(projection, columns), rowPositions(projection));
    const negative = second('weight');
    parts.set(
      `${letter}_proj.weight`,
      stacked(model, weight, rows, [columns.length, ...projection.rowShape], negative, order),
    );
  }
  if (bias && projection.bias) {
    const rows = rowsAt(model, bias, biasPositions(projection.bias, columns), Int32Array.of(0));
    parts.set(`${letter}_proj.bias`, stacked(model, bias, rows, [columns.length], second('bias'), order));
  }
}

/** The reference implementations know one projection: several second ones keep their names, the model's own theirs. */
function putBranches(
  parts: Map<string, TensorToWrite>,
  model: Model,
  site: LocatedSite,
  name: string,
  side: Side,
): void {
  branchesOf(side).forEach((_, index) => {
    for (const part of ['weight', 'bias']) {
      const suffix = index === 0 ? `${name}.${part}` : `${name}.${index}.${part}`;
      const tensor = parameter(model, site, suffix);
      if (tensor) parts.set(suffix, asStored(model, tensor));
    }
  });
}

function stacked(
  model: Model,
  { dataType }: TensorProto,
  positive: ByteRange,
  [rows = 0, ...rest]: readonly number[],
  negative: TensorProto | undefined,
  order: (data: ByteRange) => ByteRange,
): TensorToWrite {
  const dtype = dataType as DataType;
  if (!negative) return { dtype, shape: [rows, ...rest], data: positive };
  const data = order(concatBytes([positive, model.file.tensorBytes(negative)]));
  return { dtype, shape: [rows + (tensorShape(negative)[0] ?? 0), ...rest], data };
}

/** What a model holds now where this value, of it or of the model it was made from, is stored. */
function current(model: Model, value: Value): TensorProto | undefined {
  const { name } = value;
  for (const graph of model.scopes()) {
    const found = graph.values.get(name);
    if (found) return constantTensor(found);
  }
  return undefined;
}

function parameter(model: Model, site: LocatedSite, suffix: string): TensorProto | undefined {
  return model.graph.values.get(`${site.path}.${suffix}`)?.initializer;
}

/** Tensors of a layer that have been written under other names. */
function ownTensors(model: Model, site: LocatedSite): Set<TensorProto | undefined> {
  const single = projectedSides(site).filter(({ further }) => further.length === 0);
  const projected = single.flatMap(({ projection: { holder, bias } }) => [
    current(model, holder),
    bias && current(model, bias.holder),
  ]);
  const second = ['q', 'k'].flatMap((letter) =>
    ['weight', 'bias'].map((part) => parameter(model, site, `${letter}2_proj.${part}`)),
  );
  return new Set([...projected, ...second, parameter(model, site, 'lambda_init')]);
}

function asStored(model: Model, tensor: TensorProto): TensorToWrite {
  const data = model.file.tensorBytes(tensor);
  return { dtype: tensor.dataType as DataType, shape: tensorShape(tensor), data };
}

function asTransposed(model: Model, tensor: TensorProto): TensorToWrite {
  const { dtype, shape, data } = asStored(model, tensor);
  return { dtype, shape: [...shape].reverse(), data: transposedRows(data, shape, dtype) };
}
