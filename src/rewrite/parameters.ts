import type { LocatedSite, ParameterName } from '../attention/find';
import { presetOf } from '../attention/presets';
import { type SecondProjection, secondProjections } from '../attention/second-projections';
import type { Branch } from '../attention/site';
import type { Model, Value } from '../ir';
import { fail } from '../match/outcome';
import { biasPositions, columnPositions, projectionType, rowPositions } from '../match/projection';
import { type ByteRange, byteSize, computedBytes, DataType, type TensorProto } from '../onnx';
import { encodeFloats, isFloatType } from '../onnx/floats';
import { normal, uniform } from '../weights/random';
import { rowsAt } from './columns';
import type { RewriteOptions } from './options';
import { copiedParts, isWritable, quantizedParts } from './quantized';
import { floatTensor, makeTensor } from './tensors';

/** A parameter that a rewrite adds, before its name is minted. */
export interface PlannedParameter {
  /** Attention path, that of another attention where weights are shared. */
  readonly path: string;
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
export function planLambdas(site: LocatedSite, options: RewriteOptions): UnplacedParameter[] {
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

function planVectors(site: LocatedSite, { init, seed }: RewriteOptions): UnplacedParameter[] {
  const width = site.headWidth;
  const vectors = LAMBDA_VECTORS.map((suffix): UnplacedParameter => {
    const drawn = init === 'preserve' ? (PRESERVED[suffix] ?? suffix) : suffix;
    const values =
      init === 'zero' ? [new Float32Array(width)] : normal(seed, `${site.path}.${drawn}`, width, LAMBDA_STD);
    return { suffix, tensor: makeTensor(DataType.FLOAT, [width], floats(DataType.FLOAT, width, values)) };
  });
  const start = init === 'zero' ? 0 : lambdaInitOfDepth(site.depth);
  return [...vectors, { suffix: 'lambda_init', tensor: scalar(start) }];
}

/** The weight [heads, in] of lambda = sigmoid(x W); under `preserve` also where lambda starts, for the gain. */
function planLambdaProjection(site: LocatedSite, { init, seed }: RewriteOptions): UnplacedParameter[] {
  const { inFeatures } = site.query.projection;
  const shape = [site.heads, inFeatures];
  const count = site.heads * inFeatures;
  const keeps = init === 'preserve';
  const suffix = 'lambda_proj.weight';
  const values = keeps ? zeros(count) : normal(seed, `${site.path}.${suffix}`, count, LAMBDA_PROJECTION_STD);
  const { inputType } = site;
  const weight = { suffix, tensor: makeTensor(inputType, shape, floats(inputType, count, values)) };
  return keeps ? [weight, { suffix: 'lambda_init', tensor: scalar(SIGMOID_START) }] : [weight];
}

/** What is planned of one attention, before it is known where it is named. */
export type UnplacedParameter = Omit<PlannedParameter, 'path'>;

/** The weight [columns, in] and, where the model has one, the bias of a second projection. */
function planProjection(model: Model, second: SecondProjection, options: RewriteOptions): PlannedParameter[] {
  const { path, name, branch } = second;
  const planned = [...planWeight(model, second, options), ...planBias(model, name, branch, options)];
  return planned.map((each) => ({ ...each, path }));
}

function planBias(
  model: Model,
  name: string,
  { projection, columns }: Branch,
  { init }: RewriteOptions,
): UnplacedParameter[] {
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
  { path, name, branch: { projection, columns } }: SecondProjection,
  { init, seed }: RewriteOptions,
): UnplacedParameter[] {
  const { inFeatures, quantized, tensor, rowShape } = projection;
  const count = columns.length * inFeatures;
  const bound = init === 'zero' ? 0 : 1 / Math.sqrt(inFeatures);
  const numbers = init === 'zero' ? zeros(count) : uniform(seed, `${path}.${name}.weight`, count, bound);
  const copies = init === 'mirror' || init === 'preserve';
  if (quantized) {
    if (copies) return copiedParts(model, projection, quantized, columns, name);
    if (!isWritable(quantized)) {
      const found = `${quantized.bits} bits, which --init mirror and preserve copy`;
      fail('projection-form', projection.node, 'weights of 4 or 8 bits', found);
    }
    return quantizedParts(model, projection, quantized, columns, numbers, bound, name);
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

/** Everything new of a layer. */
export function planParameters(model: Model, site: LocatedSite, options: RewriteOptions): PlannedParameter[] {
  const { path } = site;
  return [
    ...secondProjections(site, options).flatMap((second) => planProjection(model, second, options)),
    ...planLambdas(site, options).map((each) => ({ ...each, path })),
  ];
}

/** The parameters of a model by name: attentions that share their weights share what is new as well. */
export class ParameterBook {
  readonly #planned = new Set<LocatedSite>();
  readonly #paths = new Map<string, Map<string, Value>>();

  constructor(
    readonly model: Model,
    readonly options: RewriteOptions,
  ) {}

  /** The new parameters that bear the path of a layer, by suffix; all of the layer are made when it is first asked for. */
  of(site: LocatedSite): ReadonlyMap<string, Value> {
    if (!this.#planned.has(site)) {
      this.#planned.add(site);
      this.model.journal.record(() => {
        this.#planned.delete(site);
      });
      for (const each of planParameters(this.model, site, this.options)) this.#add(each);
    }
    return this.#at(site.path);
  }

  /** The parameters of a second projection of a layer, wherever they are named, by suffix. */
  ofProjection(site: LocatedSite, { path }: ParameterName): ReadonlyMap<string, Value> {
    this.of(site);
    return this.#at(path);
  }

  /** The paths under which there are parameters. */
  get paths(): readonly string[] {
    return [...this.#paths.keys()];
  }

  /** The parameters that bear a path, by suffix. */
  at(path: string): ReadonlyMap<string, Value> {
    return this.#at(path);
  }

  #at(path: string): Map<string, Value> {
    const values = this.#paths.get(path) ?? new Map<string, Value>();
    this.#paths.set(path, values);
    return values;
  }

  #add({ path, suffix, tensor }: PlannedParameter): void {
    const values = this.#at(path);
    if (values.has(suffix)) return;
    values.set(suffix, this.model.graph.addInitializer(`${path}.${suffix}`, tensor));
    this.model.journal.record(() => {
      values.delete(suffix);
    });
  }

  /** One parameter that every layer has. */
  get(site: LocatedSite, suffix: string): Value {
    const value = this.of(site).get(suffix);
    if (!value) throw new Error(`${site.path} has no parameter ${suffix}`);
    return value;
  }
}
