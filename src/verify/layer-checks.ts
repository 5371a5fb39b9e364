import type { CaseRun } from './case-runs';
import { compareTensors } from './compare';
import { type LayerUnderTest, type Lookup, neededValues, referenceOutput } from './layer-reference';
import type { CheckBuilder } from './report';
import { storedTensor } from './stored';
import type { Tensor } from './tensor';
import { toleranceFor } from './tolerance';

type Outputs = Readonly<Record<string, Tensor>>;

/** Compares what flows out of every rewritten layer with the float64 reference on what flows in. */
export function compareLayers(
  layers: readonly LayerUnderTest[],
  shown: Outputs,
  run: CaseRun,
  check: CheckBuilder,
): void {
  for (const under of layers) {
    const { layer } = under;
    const lookup: Lookup = (name) => shown[name] ?? storedTensor(under.rewritten, name);
    const actual = shown[layer.output];
    const missing = neededValues(under).find((name) => !lookup(name));
    if (!actual || missing !== undefined) {
      check.find(`${layer.path}: '${missing ?? layer.output}' cannot be looked at`, layer.path);
      continue;
    }
    const { shape, data } = referenceOutput(under, lookup);
    const expected: Tensor = { dtype: 11, shape: actual.shape, data };
    const sameSize = shape.reduce((all, size) => all * size, 1) === actual.data.length;
    const tolerance = run.tolerance ?? toleranceFor(actual.dtype);
    const given: Tensor = { ...actual, dtype: actual.dtype };
    const comparison = compareTensors(
      sameSize ? { ...expected, dtype: given.dtype } : { ...expected, shape },
      given,
      tolerance,
    );
    check.compare(`${layer.path}: C`, comparison, run.where, layer.path);
  }
}

/** Pairs of start values that are equal once the second projections hold the first ones' weights. */
const MIRRORED = [
  ['Q1', 'Q2'],
  ['K1', 'K2'],
  ['A1', 'A2'],
  ['Y1', 'Y2'],
] as const;

/** Compares the two components under mirrored weights. */
export function compareMirrored(
  layers: readonly LayerUnderTest[],
  shown: Outputs,
  run: CaseRun,
  check: CheckBuilder,
): void {
  for (const { layer } of layers) {
    for (const [first, second] of MIRRORED) {
      const [a, b] = [layer.start[first], layer.start[second]];
      if (a === undefined || b === undefined) continue;
      const tolerance = run.tolerance ?? toleranceFor(shown[a]?.dtype);
      check.compare(
        `${layer.path}: ${second}`,
        compareTensors(shown[a], shown[b], tolerance),
        run.where,
        layer.path,
      );
    }
  }
}

/** Compares the outputs of the original with those of a model that must give the same. */
export function compareFunction(run: CaseRun, actual: Outputs, check: CheckBuilder): void {
  for (const [name, expected] of Object.entries(run.outputs)) {
    check.compare(name, compareTensors(expected, actual[name], run.tolerance), run.where);
  }
}

/** Compares what each attention gives in both models, to name the first that differs. */
export function compareAttended(
  layers: readonly LayerUnderTest[],
  expected: Outputs,
  actual: Outputs,
  run: CaseRun,
  check: CheckBuilder,
): void {
  for (const { layer } of layers) {
    const comparison = compareTensors(expected[layer.output], actual[layer.output], run.tolerance);
    check.compare(`${layer.path}: output`, comparison, run.where, layer.path);
  }
}
