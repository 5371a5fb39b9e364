import type { LocatedSite } from '../attention/find';
import { presetOf } from '../attention/presets';
import type { RecordedOptions, RewrittenLayer } from '../attention/record';
import { DataType } from '../onnx';
import type { Place, ScopePath } from './places';
import { lambdaInput, lambdaWeight, projectedLambda } from './projected-lambda';
import {
  type Array64,
  array64,
  type DifferentialParameters,
  differentialAttention,
  differentialMap,
  differentialOutputs,
  lambdaOf,
  permute,
  type Rounding,
  repeatHeads,
  scores,
  softmax,
} from './reference';
import type { OperatorCalls } from './split-operator';
import { splitMaps, splitReference } from './split-reference';
import { type Tensor, toFloat64 } from './tensor';
import { toleranceFor } from './tolerance';

/**
 * What a rewritten layer must give, computed in float64 from what flows into it. Knows the parameters by the names of
 * SPEC section 2 and nothing of how the layer is written.
 */

/** Values by name, as a layer sees them: what a run has shown or was fed, and what the model stores. */
export type Lookup = (name: string) => Tensor | undefined;

export interface LayerUnderTest {
  /** True where it is run with float32 in the place of bfloat16. */
  readonly wide?: boolean;
  readonly layer: RewrittenLayer;
  /** The attention in the original. */
  readonly site: LocatedSite;
  readonly options: RecordedOptions;
  /** Where it stands. */
  readonly scope: ScopePath;
  /** True where others see the attention map as well: they see the differential one now. */
  readonly showsMap: boolean;
  /** Name of the model's own probabilities in the rewritten model, where they are still computed. */
  readonly probabilities: string | undefined;
  /** Calls of a fused operator that verification adds, see `split-operator.ts`. */
  readonly calls?: OperatorCalls | undefined;
}

/** Values that layers see under these names. */
export function placesOf(
  layers: readonly LayerUnderTest[],
  names: (under: LayerUnderTest) => readonly string[],
): Place[] {
  return layers.flatMap((under) => names(under).map((name) => ({ scope: under.scope, name })));
}

function wide(tensor: Tensor | undefined, name: string): Array64 {
  if (!tensor) throw new Error(`'${name}' cannot be looked at`);
  return array64(tensor.shape, toFloat64(tensor));
}

/**
 * The parameters of a layer.
 * @throws Error where one of them is missing
 */
export function layerParameters(
  { layer, site, options }: Pick<LayerUnderTest, 'layer' | 'site' | 'options'>,
  lookup: Lookup,
  mix: number,
): DifferentialParameters {
  const numbers = (suffix: string) => {
    const name = `${layer.path}.${suffix}`;
    return wide(lookup(name), name).data;
  };
  const { normWeight, timesOneMinusLambdaInit } = presetOf(options);
  const get = (name: string) => wide(lookup(name), name);
  const lambda = lambdaOfLayer({ layer, site, options }, get);
  const lambdaInit = lambdaNames({ layer, options }).some((name) => name.endsWith('.lambda_init'))
    ? (numbers('lambda_init')[0] ?? Number.NaN)
    : 0;
  return {
    lambda,
    mix,
    norm: options.sublayerNorm
      ? { eps: layer.epsilon ?? Number.NaN, ...(normWeight ? { weight: numbers('subln.weight') } : {}) }
      : undefined,
    timesOneMinusLambdaInit: timesOneMinusLambdaInit ? lambdaInit : undefined,
    gain: options.init === 'preserve' ? 1 / (1 - mix * lambdaInit) : 1,
  };
}

/** Names of what lambda and what follows from its initial value are computed from, stored in the model. */
export function lambdaNames({ layer, options }: Pick<LayerUnderTest, 'layer' | 'options'>): string[] {
  const named = (suffix: string) => `${layer.path}.${suffix}`;
  if (presetOf(options).lambda === 'vectors')
    return ['lambda_q1', 'lambda_k1', 'lambda_q2', 'lambda_k2', 'lambda_init'].map(named);
  const weight = lambdaWeight({ layer });
  return options.init === 'preserve' ? [weight, named('lambda_init')] : [weight];
}

/** One number, or one for each token and head. */
function lambdaOfLayer(
  { layer, site, options }: Pick<LayerUnderTest, 'layer' | 'site' | 'options'>,
  get: (name: string) => Array64,
): number | Array64 {
  if (presetOf(options).lambda === 'projection') {
    const weighed = get(layer.start['A1'] ?? layer.start['Y1'] ?? layer.start['Q1'] ?? '');
    return projectedLambda({ site }, get(lambdaInput({ site })), get(lambdaWeight({ layer })), weighed);
  }
  const vector = (suffix: string) => get(`${layer.path}.${suffix}`).data;
  return lambdaOf({
    lambda_q1: vector('lambda_q1'),
    lambda_k1: vector('lambda_k1'),
    lambda_q2: vector('lambda_q2'),
    lambda_k2: vector('lambda_k2'),
    lambda_init: vector('lambda_init')[0] ?? Number.NaN,
  });
}

/**
 * Names of the values that the reference needs. In duplicate mode: what the differential attention starts from. In
 * split mode: what the original's own attention is computed from, since pairing is part of what is checked.
 */
export function neededValues({ layer, site, options, calls, probabilities }: LayerUnderTest): string[] {
  if (options.heads === 'duplicate') {
    const projected = presetOf(options).lambda === 'projection';
    return [...Object.values(layer.start), ...(projected ? [lambdaInput({ site })] : [])];
  }
  const { core } = site;
  if (calls) return [calls.own, calls.exchanged];
  if (core.kind === 'written-out') return [probabilities ?? core.probabilities.name, core.values.name];
  return core.node.inputs.flatMap((input) => (input ? [input.name] : []));
}

/**
 * Name of what is compared. In duplicate mode what the differential attention gives, since the neutralised run shows
 * that it reaches the rest as the original's did; in split mode what stands in the place of the original's output.
 */
export function comparedValue({ layer, options }: LayerUnderTest): string {
  return options.heads === 'duplicate' ? layer.attended : layer.output;
}

/**
 * What the layer must give.
 * @param rounded true for what follows from scores as the model's type rounds them, see `reference/rounding.ts`
 * @throws Error where values are missing or do not fit together
 */
export function referenceOutput(
  under: LayerUnderTest,
  lookup: Lookup,
  mix: number,
  rounded = false,
): Array64 {
  const parameters = layerParameters(under, lookup, mix);
  const get = (name: string) => wide(lookup(name), name);
  const { options, layer } = under;
  if (options.heads === 'split')
    return splitReference(
      under,
      parameters,
      get,
      (name) => lookup(name)?.dtype === DataType.BOOL,
      rounded ? roundingOf(under, lookup) : undefined,
    );
  const from = (key: string) => get(layer.start[key] ?? key);
  switch (layer.form) {
    case 'probabilities':
      return attend(parameters, from('A1'), from('A2'), from('V'));
    case 'scores':
      return attend(parameters, ...bothMaps(under, lookup, rounded), from('V'));
    case 'outputs':
      return differentialOutputs({ ...parameters, Y1_BHSD: from('Y1'), Y2_BHSD: from('Y2') });
    default:
      return layer.form satisfies never;
  }
}

/**
 * The differential attention map that a layer must show, laid out as the model's own.
 * @param rounded as for `referenceOutput`
 * @throws Error where values are missing or do not fit together
 */
export function referenceMap(under: LayerUnderTest, lookup: Lookup, mix: number, rounded = false): Array64 {
  const { lambda } = layerParameters(under, lookup, mix);
  const { site } = under;
  const [A1_BHST, A2_BHST] = componentsOf(under, lookup, rounded);
  const map = differentialMap({ A1_BHST, A2_BHST, lambda, mix });
  const axes = site.core.kind === 'written-out' ? site.core.arrangement?.probabilities : undefined;
  return axes
    ? permute(
        map,
        axes.map((_, axis) => axes.indexOf(axis)),
      )
    : map;
}

/** Names of the values that `componentsOf` needs. */
export function componentNames(under: LayerUnderTest): string[] {
  const { layer } = under;
  if (layer.form === 'outputs') return [layer.start['Y1'] ?? '', layer.start['Y2'] ?? ''];
  return neededValues(under);
}

/**
 * The maps of both components; what they give, A1 V and A2 V, where a fused operator keeps them to itself.
 * @throws Error where values are missing
 */
export function componentsOf(
  under: LayerUnderTest,
  lookup: Lookup,
  rounded = false,
): [positive: Array64, negative: Array64] {
  const get = (name: string) => wide(lookup(name), name);
  const { layer, options } = under;
  switch (layer.form) {
    case 'outputs':
      return [get(layer.start['Y1'] ?? ''), get(layer.start['Y2'] ?? '')];
    case 'scores':
      return bothMaps(under, lookup, rounded);
    case 'probabilities':
      return options.heads === 'split'
        ? splitMaps(under, get)
        : [get(layer.start['A1'] ?? ''), get(layer.start['A2'] ?? '')];
    default:
      return layer.form satisfies never;
  }
}

function attend(parameters: DifferentialParameters, A1: Array64, A2: Array64, V: Array64): Array64 {
  return differentialAttention({ ...parameters, A1_BHST: A1, A2_BHST: A2, V_BHTD: spreadValues(V, A1) });
}

/** Repeats values that several heads share, as the model's product would broadcast them. */
function spreadValues(V: Array64, A: Array64): Array64 {
  const heads = A.shape.at(-3) ?? 1;
  if (A.shape.length === 4 && V.shape.length === 4 && V.shape[1] === 1 && heads > 1)
    return repeatHeads(V, heads);
  return V;
}

function bothMaps(
  under: LayerUnderTest,
  lookup: Lookup,
  rounded: boolean,
): [positive: Array64, negative: Array64] {
  const get = (name: string) => wide(lookup(name), name);
  const rounding = rounded ? roundingOf(under, lookup) : undefined;
  return [maps(under.layer, '1', get, rounding), maps(under.layer, '2', get, rounding)];
}

/** How scores are rounded: in the type of the queries. What was shown out of a body is float32 whatever it was. */
function roundingOf({ layer, site, scope, wide }: LayerUnderTest, lookup: Lookup): Rounding {
  const { core } = site;
  const operand = core.kind === 'operator' ? core.node.inputs[core.queryIndex]?.name : core.output.name;
  const shown = lookup(layer.start['Q1'] ?? operand ?? '')?.dtype;
  const stored = wide && site.inputType === DataType.BFLOAT16 ? DataType.FLOAT : site.inputType;
  const type = (scope.length === 0 ? shown : undefined) ?? stored;
  return { type, above: toleranceFor(type as DataType).rtol };
}

function maps(
  { start }: RewrittenLayer,
  n: '1' | '2',
  get: (name: string) => Array64,
  rounding: Rounding | undefined,
): Array64 {
  const scalar = (key: string) => (start[key] === undefined ? 1 : (get(start[key]).data[0] ?? Number.NaN));
  const bias = start['bias'] === undefined ? undefined : get(start['bias']);
  const Q = get(start[`Q${n}`] ?? '');
  const K = get(start[`K${n}`] ?? '');
  const scale = scalar('scale') / scalar('divisor');
  return softmax(scores(Q, repeatHeads(K, Q.shape[1] ?? 1), scale, bias, rounding), rounding);
}
