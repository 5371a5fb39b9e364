import type { Tensors } from './bench';
import { type CaseRun, inputOf } from './case-runs';
import type { CheckBuilder } from './report';
import { toFloat64 } from './tensor';

/**
 * Checks that what the rewritten model gives for large numbers is finite, where the original's is: for rewrites that keep
 * the function. Others may overflow by what they were made to compute.
 */
export function checkOverflow(
  runs: readonly CaseRun[],
  given: readonly Tensors[],
  check: CheckBuilder,
): void {
  for (const [index, run] of runs.entries()) {
    const { where } = run;
    check.ranOn(inputOf(run));
    for (const [name, tensor] of Object.entries(given[index] ?? {})) {
      const bad = toFloat64(tensor).filter((value) => !Number.isFinite(value)).length;
      if (bad === 0) check.count();
      else check.find(`output '${name}': ${bad} elements are not finite (${where})`);
    }
  }
}
