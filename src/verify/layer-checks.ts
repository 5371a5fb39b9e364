import { presetOf } from '../attention/presets';
import { DataType } from '../onnx';
import type { CaseRun } from './case-runs';
import { compareTensors, type TensorComparison } from './compare';
import type { Component } from './key-caches';
import {
  comparedValue,
  type LayerUnderTest,
  type Lookup,
  neededValues,
  referenceMap,
  referenceOutput,
} from './layer-reference';
import type { Place } from './places';
import { scaled } from './precision';
import { smallParameters } from './probe';
import type { Array64 } from './reference';
import type { CheckBuilder } from './report';
import type { Allowance } from './steps';
import { type Tensor, toFloat64 } from './tensor';
import { type Tolerance, toleranceFor } from './tolerance';

/** Held here because a lookup of a global per number is slow in some hosts (node:vm contexts, so Jest). */
const { max, sqrt } = Math;
const { isFinite: isFiniteNumber } = Number;

/** What a run has shown of the layers. */
export interface Look {
  at(place: Place): Tensor | undefined;
  /** True for values in branches that were not taken. */
  isNotTaken(place: Place): boolean;
  readonly mix: number;
  /** For messages. */
  readonly where: string;
}

/** How far numbers may be apart. */
export interface Limits {
  /** Instead of the tolerance by element type and size. */
  readonly given: Tolerance | undefined;
  /** A tolerance of the CPU, as wide as the provider needs it. */
  widen(tolerance: Tolerance): Tolerance;
}

/** What a layer is called in comparisons: by its path, unless it shares that with another one. */
export function labelOf({ layer, scope }: LayerUnderTest, layers: readonly LayerUnderTest[]): string {
  const shared = layers.some((other) => other.layer.path === layer.path && other.layer !== layer);
  const where = scope.map(({ output, body }) => ` in ${body} of '${output}'`).join('');
  return shared ? `${layer.path} ('${layer.output}'${where})` : layer.path;
}

/** Compares what flows out of every rewritten layer with the float64 reference on what flows in. */
export function compareLayers(
  layers: readonly LayerUnderTest[],
  look: Look,
  { given, widen }: Limits,
  check: CheckBuilder,
): void {
  for (const under of layers) {
    const { path } = under.layer;
    const label = labelOf(under, layers);
    const output = comparedValue(under);
    const needed = [...neededValues(under), output];
    const { scope } = under;
    if (needed.some((name) => look.isNotTaken({ scope, name }))) continue;
    const lookup: Lookup = (name) => look.at({ scope, name });
    const missing = [...needed, ...smallParameters(under)].find((name) => !lookup(name));
    const actual = lookup(output);
    if (!actual || missing !== undefined) {
      check.findOnce(`${label}: '${missing ?? output}' cannot be looked at`, path);
      continue;
    }
    const tolerance = given ?? fitting(under, actual, lookup, widen);
    const compare = (what: string, value: Tensor | undefined, reference: (rounded: boolean) => Array64) => {
      try {
        const exact = compareWide(reference(false), value, tolerance);
        const comparison = exact.passed ? exact : orRounded(exact, reference(true), value, tolerance);
        check.compare(`${label}: ${what}`, comparison, look.where, path);
      } catch (error) {
        check.findOnce(`${label}: cannot be computed: ${(error as Error).message}`, path);
      }
    };
    compare('C', actual, (rounded) => referenceOutput(under, lookup, look.mix, rounded));
    if (under.showsMap)
      compare('map', lookup(mapName(under)), (rounded) => referenceMap(under, lookup, look.mix, rounded));
  }
}

/** Where a value is not that of exact scores: the comparison with that of scores as the model rounds them, if it is that. */
function orRounded(
  exact: TensorComparison,
  rounded: Array64,
  value: Tensor | undefined,
  tolerance: Tolerance,
): TensorComparison {
  const comparison = compareWide(rounded, value, tolerance, rounded.slack);
  return comparison.passed ? comparison : exact;
}

/** The name of the map that others see. */
export function mapName({ site: { core } }: LayerUnderTest): string {
  return core.kind === 'written-out' ? core.probabilities.name : '';
}

/** Compares numbers in float64; a shape that differs in the grouping of axes alone does not matter. */
function compareWide(
  expected: Array64,
  actual: Tensor | undefined,
  tolerance: Tolerance,
  slack?: Float64Array,
) {
  if (!actual) return compareTensors({ dtype: DOUBLE, ...expected }, undefined, tolerance);
  const sameSize = expected.data.length === actual.data.length;
  const shape = sameSize ? actual.shape : expected.shape;
  return compareTensors(
    { dtype: DOUBLE, shape, data: expected.data },
    { dtype: DOUBLE, shape: actual.shape, data: toFloat64(actual) },
    tolerance,
    slack,
  );
}

const DOUBLE = 11;

/**
 * The tolerance by the element type, absolute errors in units of how large the values are that the layer weighs: what
 * is small there is rounded in small steps.
 */
function fitting(
  { site, layer, options, wide }: LayerUnderTest,
  actual: Tensor,
  lookup: Lookup,
  widen: Limits['widen'],
): Tolerance {
  // What was shown out of a branch is float32 whatever it was; lambda is computed in float32 (SPEC section 1), of logits
  // that are as good as what they are projected from.
  const projected = presetOf(options).lambda === 'projection' ? site.inputType : DataType.FLOAT;
  const asRun = (type: number) => (wide && type === DataType.BFLOAT16 ? DataType.FLOAT : type);
  const widest = [actual.dtype, site.dataType, projected, DataType.FLOAT]
    .map((type) => toleranceFor(asRun(type) as Tensor['dtype']))
    .reduce((one, other) => (other.atol > one.atol ? other : one));
  const values = lookup(layer.start['V'] ?? layer.start['Y1'] ?? '') ?? lookup(site.core.values.name);
  const size = max(rms(actual), values ? rms(values) : 0);
  return scaled(widen(widest), size);
}

function rms(tensor: Tensor): number {
  let [sum, count] = [0, 0];
  for (const value of toFloat64(tensor)) {
    if (!isFiniteNumber(value)) continue;
    sum += value * value;
    count++;
  }
  return count > 0 ? sqrt(sum / count) : 0;
}

/** Values of the two components that are equal once they have exchanged their weights. */
const COMPONENTS = [
  ['Q1', 'Q2'],
  ['K1', 'K2'],
  ['A1', 'A2'],
  ['Y1', 'Y2'],
] as const;

/** Names of what the components of a layer are made of: the positive ones, or the negative ones. */
export function componentValues({ layer }: LayerUnderTest, component: Component): string[] {
  return COMPONENTS.flatMap(
    ([first, second]) => layer.start[component === 'positive' ? first : second] ?? [],
  );
}

/**
 * Compares the positive component before the exchange with the negative one behind it.
 * @param given instead of the tolerance by element type and size
 */
export function compareExchanged(
  layers: readonly LayerUnderTest[],
  positive: Look,
  negative: Look,
  toleranceOf: (dtype: Tensor['dtype'] | undefined) => Tolerance,
  given: Tolerance | undefined,
  check: CheckBuilder,
): void {
  for (const under of layers) {
    const { layer, scope } = under;
    for (const [first, second] of COMPONENTS) {
      const [a, b] = [layer.start[first], layer.start[second]];
      if (a === undefined || b === undefined || positive.isNotTaken({ scope, name: a })) continue;
      const [expected, actual] = [positive.at({ scope, name: a }), negative.at({ scope, name: b })];
      const tolerance = given ?? scaled(toleranceOf(expected?.dtype), expected ? rms(expected) : 1);
      check.compare(
        `${labelOf(under, layers)}: ${second}`,
        compareTensors(expected, actual, tolerance),
        negative.where,
        layer.path,
      );
    }
  }
}

/**
 * Compares the outputs of the original with those of a model that must give the same.
 * @param allowance what else is allowed where the model is quantized
 */
export async function compareFunction(
  run: CaseRun,
  actual: Readonly<Record<string, Tensor>>,
  toleranceOf: (dtype: Tensor['dtype'] | undefined) => Tolerance,
  check: CheckBuilder,
  allowance?: Allowance,
): Promise<void> {
  for (const [name, expected] of Object.entries(run.outputs)) {
    const tolerance = toleranceOf(expected.dtype);
    const compared = (allowed: Tolerance) => compareTensors(expected, actual[name], allowed);
    const comparison = allowance ? await allowance.allowing(name, tolerance, compared) : compared(tolerance);
    check.compare(name, comparison, run.where);
  }
}
