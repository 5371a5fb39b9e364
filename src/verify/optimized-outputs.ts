import { isRefused } from '../errors';
import type { Bench } from './bench';
import type { CaseRun } from './case-runs';
import { compareTensors, type TensorComparison } from './compare';

/**
 * Outputs of the original that ONNX Runtime's optimizations change, and by how much at most. Quantized models are like
 * that: where a fused operator takes in what quantizes behind it, a number near a boundary falls on the other side.
 * @param runs what the original gives with optimizations
 */
export async function outputsThatOptimizationsChange(
  bench: Bench,
  runs: readonly CaseRun[],
): Promise<ReadonlyMap<string, TensorComparison>> {
  const changed = new Map<string, TensorComparison>();
  if (bench.place.optimization === 'disabled') return changed;
  try {
    await bench.at({ optimization: 'disabled' }).original(async (session) => {
      for (const run of runs) {
        const plain = await session.run(run.feeds);
        for (const [name, tensor] of Object.entries(run.outputs)) {
          const comparison = compareTensors(plain[name], tensor, bench.toleranceOf(tensor.dtype));
          const known = changed.get(name)?.maxAbs ?? 0;
          if (!comparison.passed && !(comparison.maxAbs < known)) changed.set(name, comparison);
        }
      }
    });
  } catch (error) {
    // What does not run without optimizations says nothing of them.
    if (!isRefused(error)) throw error;
    changed.clear();
  }
  return changed;
}
