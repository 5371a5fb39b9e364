import { isRefused } from '../errors';
import type { Model, Value } from '../ir';
import type { DataType } from '../onnx';
import { encodeFloats } from '../onnx/floats';
import type { Bench, Tensors } from './bench';
import type { CaseRun } from './case-runs';
import { compareTensors, type TensorComparison } from './compare';
import { addInput, multiply } from './edit';
import type { LayerUnderTest } from './layer-reference';
import { valueAt } from './places';
import { type Tensor, tensorFromBytes } from './tensor';
import { TOLERANCES, type Tolerance } from './tolerance';

/** How far what an attention gives may be off: as far as in a model that does not quantize it. */
const OFF = TOLERANCES.float32.rtol;

/** What is allowed in a comparison of an output beside the tolerance. */
export interface Allowance {
  /** Makes the comparison; where it fails, once more with that allowed. */
  allowing(
    output: string,
    tolerance: Tolerance,
    compare: (tolerance: Tolerance) => TensorComparison,
  ): Promise<TensorComparison>;
}

/**
 * A model that quantizes what it computes has steps: a number near the boundary between two of them falls on the other side
 * however little it is moved, and what follows changes by whole steps. How large they are at the outputs is not known before,
 * so it is measured: the original is run with all that its attentions give a little larger, and a little smaller.
 */
export class StepChanges implements Allowance {
  #known: Promise<ReadonlyMap<string, number>> | undefined;

  constructor(
    readonly bench: Bench,
    readonly runs: readonly CaseRun[],
  ) {}

  /** The largest change of an output in any case; 0 where nothing is quantized, or the user has said what is allowed. */
  async of(output: string): Promise<number> {
    const { bench } = this;
    if (!bench.quantized || bench.settings.tolerance) return 0;
    this.#known ??= measured(bench, this.runs);
    return (await this.#known).get(output) ?? 0;
  }

  /** Makes a comparison of an output; where it fails, once more with that change allowed. */
  async allowing(
    output: string,
    tolerance: Tolerance,
    compare: (tolerance: Tolerance) => TensorComparison,
  ): Promise<TensorComparison> {
    const strict = compare(tolerance);
    if (strict.passed) return strict;
    const change = await this.of(output);
    return change > tolerance.atol ? compare({ ...tolerance, atol: change }) : strict;
  }
}

async function measured(bench: Bench, runs: readonly CaseRun[]): Promise<ReadonlyMap<string, number>> {
  const changes = new Map<string, number>();
  const note = (expected: Tensors, actual: Tensors) => {
    for (const [name, tensor] of Object.entries(expected)) {
      const { maxAbs } = compareTensors(tensor, actual[name]);
      if (maxAbs > (changes.get(name) ?? 0)) changes.set(name, maxAbs);
    }
  };
  try {
    await bench.ofOriginal(
      (model) => openFactors(model, bench.layers),
      async (session, factors) => {
        for (const { feeds } of runs) {
          const given = (factor: number) => session.run({ ...feeds, ...feedsOf(factors, factor) });
          const plain = await given(1);
          note(plain, await given(1 + OFF));
          note(plain, await given(1 - OFF));
        }
      },
    );
  } catch (error) {
    // What does not run changes nothing.
    if (!isRefused(error)) throw error;
  }
  return changes;
}

/** The element types of the inputs that were added, by name. */
type Factors = ReadonlyMap<string, number>;

/** Multiplies what each attention gives with an input. */
function openFactors(model: Model, layers: readonly LayerUnderTest[]): Factors {
  const factors = new Map<string, number>();
  const seen = new Set<Value>();
  for (const { layer, scope, site } of layers) {
    const value = valueAt(model, { scope, name: layer.output });
    if (!value?.producer || seen.has(value)) continue;
    seen.add(value);
    const name = `diffx/factor/${factors.size}`;
    multiply(value, addInput(model.graph, name, site.dataType, []));
    factors.set(name, site.dataType);
  }
  return factors;
}

function feedsOf(factors: Factors, factor: number): Record<string, Tensor> {
  const tensor = (dtype: number) =>
    tensorFromBytes(dtype as DataType, [], encodeFloats(dtype as DataType, Float32Array.of(factor)));
  return Object.fromEntries([...factors].map(([name, dtype]) => [name, tensor(dtype)]));
}
