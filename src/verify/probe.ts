import { elementType } from '../analyse';
import { presetOf } from '../attention/presets';
import { MIX_INPUT } from '../attention/record';
import type { Model, Value } from '../ir';
import type { DataType } from '../onnx';
import { encodeFloats, isFloatType } from '../onnx/floats';
import { uniform } from '../weights/random';
import { addInput, multiply } from './edit';
import { type LayerUnderTest, lambdaNames } from './layer-reference';
import { valueAt } from './places';
import { storedTensor } from './stored';
import { elementCount, type Tensor, tensorFromBytes } from './tensor';

/**
 * Initial values hide mistakes: a norm weight of ones need not be multiplied with, lambda vectors of zeros need not be
 * read, an epsilon far below the mean square may be any. So the layers are looked at twice: with the values that the
 * model holds, and with others, under which every parameter shows. Both come in as graph inputs of one changed copy.
 */
export interface Setting {
  /** For the inputs that `openParameters` has added, and for the warm-up input. */
  readonly feeds: Readonly<Record<string, Tensor>>;
  readonly mix: number;
  /** For messages. */
  readonly where: string;
}

const NORM_WEIGHT = 'subln.weight';
const LAMBDA_WEIGHT = 'lambda_proj.weight';

/** The small parameters of a layer: all but the second projections. */
export function smallParameters({ layer, options }: Pick<LayerUnderTest, 'layer' | 'options'>): string[] {
  const weighted = options.sublayerNorm && presetOf(options).normWeight;
  const lambdas = lambdaNames({ layer, options });
  return weighted ? [...lambdas, `${layer.path}.${NORM_WEIGHT}`] : lambdas;
}

/** Makes the small parameters inputs, and scales the values of each normed layer by an input. */
export function openParameters(model: Model, layers: readonly LayerUnderTest[]): void {
  for (const name of new Set(layers.flatMap(smallParameters))) {
    const value = model.graph.values.get(name);
    const tensor = value?.initializer;
    if (!value || !tensor) continue;
    const shape = tensor.dims.map(Number);
    model.graph.rename(value, model.names.mint(`${name}/stored`));
    model.graph.redirect(value, addInput(model.graph, name, tensor.dataType ?? 0, shape));
    model.graph.removeInitializer(value);
  }
  // Looked up before they are multiplied: two layers may weigh the same values.
  const values = layers.map((under) => weighedValues(model, under));
  values.forEach((value, index) => {
    const type = elementType(layers[index]?.site.core.values);
    if (value && type !== undefined) multiply(value, addInput(model.graph, volumeName(index), type, []));
  });
}

/** The values of a normed layer, unless they are fed. */
function weighedValues(model: Model, { options, site, scope }: LayerUnderTest): Value | undefined {
  const value = options.sublayerNorm ? valueAt(model, { scope, name: site.core.values.name }) : undefined;
  return value?.producer ? value : undefined;
}

function volumeName(index: number): string {
  return `diffx/volume/${index}`;
}

/** The values that the model holds. */
export function asStored(rewritten: Model, layers: readonly LayerUnderTest[]): Setting {
  return setting(
    rewritten,
    layers,
    (_, tensor) => tensor,
    () => 1,
    1,
    '',
  );
}

const OTHER_MIX = 0.625;
const OTHER_LAMBDA_INIT = 0.35;

/**
 * Values under which every parameter shows: vectors that make the exponents of lambda clearly differ, norm weights that
 * are not ones, values so small that epsilon matters.
 */
export function asProbed(rewritten: Model, layers: readonly LayerUnderTest[]): Setting {
  const mix = layers[0]?.options.mixInput ? OTHER_MIX : 1;
  const volume = ({ layer }: LayerUnderTest) => Math.sqrt(layer.epsilon ?? 1);
  return setting(rewritten, layers, otherValues, volume, mix, ', with other parameters');
}

function otherValues(name: string, tensor: Tensor): Tensor {
  if (!isFloatType(tensor.dtype)) return tensor;
  const count = elementCount(tensor.shape);
  const [from, bound] = name.endsWith('lambda_init')
    ? [OTHER_LAMBDA_INIT, 0]
    : name.endsWith(NORM_WEIGHT)
      ? [1, 0.5]
      : name.endsWith(LAMBDA_WEIGHT)
        ? // Of inputs about as large as 1, numbers with a standard deviation of 2.
          [0, Math.sqrt(12 / (tensor.shape.at(-1) ?? 1))]
        : // The product of two such vectors has a standard deviation of 1/2.
          [0, (9 / 4 / count) ** 0.25];
  const values = Float32Array.from(
    [...uniform(0, `probe ${name}`, count, bound)].flatMap((chunk) => [...chunk]),
  );
  return floats(
    tensor.dtype,
    tensor.shape,
    values.map((value) => from + value),
  );
}

function floats(dtype: DataType, shape: readonly number[], values: Float32Array): Tensor {
  return tensorFromBytes(dtype, shape, encodeFloats(dtype, values));
}

function setting(
  rewritten: Model,
  layers: readonly LayerUnderTest[],
  value: (name: string, tensor: Tensor) => Tensor,
  volume: (layer: LayerUnderTest) => number,
  mix: number,
  where: string,
): Setting {
  const feeds: Record<string, Tensor> = {};
  for (const name of new Set(layers.flatMap(smallParameters))) {
    const parameter = rewritten.graph.values.get(name);
    const tensor = parameter?.initializer && storedTensor(rewritten, parameter);
    if (tensor) feeds[name] = value(name, tensor);
  }
  layers.forEach((under, index) => {
    const { site } = under;
    const type = elementType(site.core.values);
    if (weighedValues(rewritten, under) && type !== undefined)
      feeds[volumeName(index)] = floats(type as DataType, [], Float32Array.of(volume(under)));
  });
  if (layers.some(({ options }) => options.mixInput)) feeds[MIX_INPUT] = floats(1, [], Float32Array.of(mix));
  return { feeds, mix, where };
}
