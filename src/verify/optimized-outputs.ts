import { isRefused } from '../errors';
import type { Bench } from './bench';
import { type CaseRun, inputOf, rerunOriginal } from './case-runs';
import { compareTensors, type TensorComparison } from './compare';
import type { Allowance, StepChanges } from './steps';
import type { Tolerance } from './tolerance';

/** Outputs that optimizations change by more than rounding, and by how much at most. */
export type ChangedOutputs = ReadonlyMap<string, TensorComparison>;

/**
 * Outputs of the original that ONNX Runtime's optimizations change in a place, and by how much at most. Quantized models are
 * like that: without optimizations they are computed in floats, the same on every processor. With them, operators of
 * integers take in what quantizes around them. They round otherwise, and where a processor has AVX2 and not VNNI they saturate:
 * two products of 8 bits are added up in 16
 * (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html#when-and-why-do-i-need-to-try-u8u8).
 */
export async function outputsThatOptimizationsChange(
  bench: Bench,
  runs: readonly CaseRun[],
): Promise<ChangedOutputs> {
  if (bench.place.optimization === 'disabled') return new Map();
  // Cases that do not run in both places say nothing of what changes; `runOriginal` and `again` have named them.
  const given = (place: Bench) => place.original((session) => rerunOriginal(runs, session, '', []));
  try {
    return changesBetween(bench, await given(bench.at({ optimization: 'disabled' })), await given(bench));
  } catch (error) {
    // What does not run without optimizations says nothing of them.
    if (!isRefused(error)) throw error;
    return new Map();
  }
}

/** What differs between two runs of the same model, in the cases that run in both. */
export function changesBetween(
  bench: Bench,
  plain: readonly CaseRun[],
  optimized: readonly CaseRun[],
): ChangedOutputs {
  const outputsOf = new Map(plain.map((run) => [inputOf(run), run.outputs]));
  const changed = new Map<string, TensorComparison>();
  for (const run of optimized) {
    const expected = outputsOf.get(inputOf(run));
    if (!expected) continue;
    for (const [name, tensor] of Object.entries(run.outputs)) {
      const comparison = compareTensors(expected[name], tensor, bench.toleranceOf(tensor.dtype));
      const known = changed.get(name)?.maxAbs ?? 0;
      if (!comparison.passed && !(comparison.maxAbs < known)) changed.set(name, comparison);
    }
  }
  return changed;
}

/**
 * What optimizations may change where two results of quantized models are compared. Which operators are fused depends on
 * what stands around them and on the provider, and that is not the same for the two; so they are the same as without
 * optimizations, give or take what optimizations do to each: |R - O| <= |R - R'| + |R' - O'| + |O' - O|, where R' and O' are what
 * both give without. |R' - O'| is compared on its own, and no more is allowed there than anywhere. Each of the others is
 * measured: what a rewritten model is changed by should not be more than what its original is, in the same place.
 */
export class OptimizationChanges implements Allowance {
  #known: Promise<readonly ChangedOutputs[]> | undefined;
  readonly #loosened = new Map<string, number>();

  /** @param measure what optimizations change in each of the two results; called where the comparison fails without */
  constructor(
    readonly bench: Bench,
    readonly steps: StepChanges,
    readonly measure: () => Promise<readonly ChangedOutputs[]>,
  ) {}

  /** In both results together; 0 where nothing is quantized or optimized, or the user has said what is allowed. */
  async of(output: string): Promise<number> {
    const { bench } = this;
    if (!bench.quantized || bench.settings.tolerance || bench.place.optimization === 'disabled') return 0;
    this.#known ??= this.measure();
    const changes = (await this.#known).map((changed) => changed.get(output)?.maxAbs ?? 0);
    return changes.reduce((sum, change) => sum + (Number.isFinite(change) ? change : 0), 0);
  }

  /** As `StepChanges.allowing`; where that fails, once more with these changes allowed. */
  async allowing(
    output: string,
    tolerance: Tolerance,
    compare: (tolerance: Tolerance) => TensorComparison,
  ): Promise<TensorComparison> {
    const strict = await this.steps.allowing(output, tolerance, compare);
    if (strict.passed) return strict;
    const change = await this.of(output);
    if (change === 0) return strict;
    const allowed = strict.tolerance.atol + change;
    const loose = compare({ ...strict.tolerance, atol: allowed });
    if (loose.passed) this.#loosened.set(output, allowed);
    return loose;
  }

  /** A line for each output that passed by that alone. */
  get notes(): string[] {
    const where = this.bench.place.provider.text;
    return [...this.#loosened].map(
      ([output, allowed]) =>
        `output '${output}' on ${where}, optimized, more exactly than ${allowed.toExponential(1)}: so much do optimizations change it, and not at the same operators in both models`,
    );
  }
}

/** For what the rewritten model gives in a place, beside what its original gives at home. */
export function changesOfOriginal(
  bench: Bench,
  runs: readonly CaseRun[],
  steps: StepChanges,
  home = bench,
): OptimizationChanges {
  return new OptimizationChanges(bench, steps, async () => {
    const here = await outputsThatOptimizationsChange(bench, runs);
    return [here, home === bench ? here : await outputsThatOptimizationsChange(home, runs)];
  });
}
