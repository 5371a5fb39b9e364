import type { LocatedSite } from '../attention/find';
import { presetOf } from '../attention/presets';
import { type SecondProjection, secondProjections } from '../attention/second-projections';
import { type Branch, isProjected } from '../attention/site';
import type { Model, Value } from '../ir';
import { biasPositions, columnPositions, projectionType, rowPositions } from '../match/projection';
import { type ByteRange, byteSize, computedBytes, DataType, type TensorProto } from '../onnx';
import { encodeFloats, isFloatType } from '../onnx/floats';
import { normal, uniform } from '../weights/random';
import { rowsAt } from './columns';
import type { RewriteOptions } from './options';
import { copiedParts, quantizedParts } from './quantized';
import { floatTensor, makeTensor } from './tensors';

/** A parameter that a rewrite adds, before its name is minted. */
export interface PlannedParameter {
  /** Name behind the attention path, such as `q2_proj.weight`. */
  readonly suffix: string;
  readonly tensor: TensorProto;
}

/** Standard deviation of new lambda vectors: the paper, and every implementation of it. */
const LAMBDA_STD = 0.1;

/** lambda_init of a layer: 0.8 - 0.6 exp(-0.3 l), arXiv 2410.05258 section 2.1; l is the 0-based depth. */
export function lambdaInitOfDepth(depth: number): number {
  return 0.8 - 0.6 * Math.exp(-0.3 * depth);
}

const LAMBDA_VECTORS = ['lambda_q1', 'lambda_k1', 'lambda_q2', 'lambda_k2'] as const;

/** Under `preserve` the second exponent cancels the first: lambda starts at lambda_init. */
const PRESERVED: Record<string, string> = { lambda_q2: 'lambda_q1', lambda_k2: 'lambda_k1' };

function floats(dataType: number, count: number, chunks: Iterable<Float32Array>): ByteRange {
  if (!isFloatType(dataType)) throw new Error(`${dataType} is no floating-point type`);
  return computedBytes(byteSize(dataType, count) ?? 0, function* () {
    for (const chunk of chunks) yield encodeFloats(dataType, chunk);
  });
}

function scalar(value: number): TensorProto {
  return floatTensor(DataType.FLOAT, [], Float32Array.of(value));
}

/** Standard deviation of a new projection to lambda: SPEC section 1. */
const LAMBDA_PROJECTION_STD = 0.02;

/** Where lambda starts under `preserve` if it is a sigmoid: sigmoid(0). */
const SIGMOID_START = 0.5;

/** What lambda is computed from, and the norm weight of a layer, with their initial values. */
export function planLambdas(site: LocatedSite, options: RewriteOptions): PlannedParameter[] {
  const { lambda, normWeight } = presetOf(options);
  const planned = lambda === 'vectors' ? planVectors(site, options) : planLambdaProjection(site, options);
  if (options.sublayerNorm && normWeight) {
    const count = site.valueWidth * (options.heads === 'split' ? 2 : 1);
    planned.push({
      suffix: 'subln.weight',
      tensor: floatTensor(site.dataType, [count], new Float32Array(count).fill(1)),
    });
  }
  return planned;
}

function planVectors(site: LocatedSite, { init, seed }: RewriteOptions): PlannedParameter[] {
  const width = site.headWidth;
  const vectors = LAMBDA_VECTORS.map((suffix): PlannedParameter => {
    const drawn = init === 'preserve' ? (PRESERVED[suffix] ?? suffix) : suffix;
    const values =
      init === 'zero' ? [new Float32Array(width)] : normal(seed, `${site.path}.${drawn}`, width, LAMBDA_STD);
    return { suffix, tensor: makeTensor(DataType.FLOAT, [width], floats(DataType.FLOAT, width, values)) };
  });
  const start = init === 'zero' ? 0 : lambdaInitOfDepth(site.depth);
  return [...vectors, { suffix: 'lambda_init', tensor: scalar(start) }];
}

/** The weight [heads, in] of lambda = sigmoid(x W); under `preserve` also where lambda starts, for the gain. */
function planLambdaProjection(site: LocatedSite, { init, seed }: RewriteOptions): PlannedParameter[] {
  const { inFeatures } = site.query.projection;
  const shape = [site.heads, inFeatures];
  const count = site.heads * inFeatures;
  const keeps = init === 'preserve';
  const suffix = 'lambda_proj.weight';
  const values = keeps ? zeros(count) : normal(seed, `${site.path}.${suffix}`, count, LAMBDA_PROJECTION_STD);
  const weight = { suffix, tensor: makeTensor(site.dataType, shape, floats(site.dataType, count, values)) };
  return keeps ? [weight, { suffix: 'lambda_init', tensor: scalar(SIGMOID_START) }] : [weight];
}

/** The weight [columns, in] and, where the model has one, the bias of a second projection. */
export function planProjection(
  model: Model,
  site: LocatedSite,
  { name, branch }: SecondProjection,
  options: RewriteOptions,
): PlannedParameter[] {
  return [...planWeight(model, site, name, branch, options), ...planBias(model, name, branch, options)];
}

function planBias(
  model: Model,
  name: string,
  { projection, columns }: Branch,
  { init }: RewriteOptions,
): PlannedParameter[] {
  const { bias } = projection;
  if (!bias) return [];
  const type = bias.tensor.dataType ?? projectionType(projection);
  const copies = init === 'mirror' || init === 'preserve';
  const data = copies
    ? rowsAt(model, bias.tensor, biasPositions(bias, columns), Int32Array.of(0))
    : floats(type, columns.length, zeros(columns.length));
  return [{ suffix: `${name}.bias`, tensor: makeTensor(type, [columns.length], data) }];
}

function planWeight(
  model: Model,
  site: LocatedSite,
  name: string,
  { projection, columns }: Branch,
  { init, seed }: RewriteOptions,
): PlannedParameter[] {
  const { inFeatures, quantized, tensor, rowShape } = projection;
  const count = columns.length * inFeatures;
  const bound = init === 'zero' ? 0 : 1 / Math.sqrt(inFeatures);
  const numbers = init === 'zero' ? zeros(count) : uniform(seed, `${site.path}.${name}.weight`, count, bound);
  const copies = init === 'mirror' || init === 'preserve';
  if (quantized) {
    return copies
      ? copiedParts(model, projection, quantized, columns, name)
      : quantizedParts(projection, quantized, columns.length, numbers, bound, name);
  }
  const dataType = tensor.dataType ?? 0;
  const data = copies
    ? rowsAt(model, tensor, columnPositions(projection, columns), rowPositions(projection))
    : floats(dataType, count, numbers);
  return [{ suffix: `${name}.weight`, tensor: makeTensor(dataType, [columns.length, ...rowShape], data) }];
}

const ZEROS = 1 << 16;

/** Zeros in pieces; can be iterated over again. */
function zeros(count: number): Iterable<Float32Array> {
  return {
    *[Symbol.iterator]() {
      for (let left = count; left > 0; left -= ZEROS) yield new Float32Array(Math.min(left, ZEROS));
    },
  };
}

/** Everything new of a layer, by suffix. */
export function planParameters(model: Model, site: LocatedSite, options: RewriteOptions): PlannedParameter[] {
  return [
    ...secondProjections(site, options).flatMap((second) => planProjection(model, site, second, options)),
    ...planLambdas(site, options),
  ];
}

/** The parameters of a model by layer: attentions that share their weights share what is new as well. */
export class ParameterBook {
  readonly #layers = new Map<string, { values: ReadonlyMap<string, Value>; projectsKeys: boolean }>();

  constructor(
    readonly model: Model,
    readonly options: RewriteOptions,
  ) {}

  /** The new parameters of a layer, by suffix; made the first time they are asked for. */
  of(site: LocatedSite): ReadonlyMap<string, Value> {
    const known = this.#layers.get(site.path);
    // Where one branch is fed the keys that another one projects, the layer has what both of them need.
    const planned = known && (!isProjected(site.key) || known.projectsKeys) ? [] : this.#plan(site);
    const missing = planned.filter(({ suffix }) => !known?.values.has(suffix));
    if (known && missing.length === 0) return known.values;
    const values = new Map(known?.values);
    for (const { suffix, tensor } of missing)
      values.set(suffix, this.model.graph.addInitializer(`${site.path}.${suffix}`, tensor));
    this.#layers.set(site.path, { values, projectsKeys: isProjected(site.key) });
    this.model.journal.record(() => {
      if (known) this.#layers.set(site.path, known);
      else this.#layers.delete(site.path);
    });
    return values;
  }

  #plan(site: LocatedSite): PlannedParameter[] {
    return planParameters(this.model, site, this.options);
  }

  /** One parameter that every layer has. */
  get(site: LocatedSite, suffix: string): Value {
    const value = this.of(site).get(suffix);
    if (!value) throw new Error(`${site.path} has no parameter ${suffix}`);
    return value;
  }
}
