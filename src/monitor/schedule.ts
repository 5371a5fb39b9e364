import { errors } from '../errors';

/**
 * The warm-up schedule of SPEC section 6: what `diff_attn_mix` is at a step, `min(1, step / warmupSteps)`. Steps count
 * from 0, so that training begins without the negative component. Without warm-up steps it is 1 from the start.
 * @throws DiffxError invalid-number for a number below 0
 */
export function warmUpMix(step: number, warmupSteps: number): number {
  for (const [name, value] of Object.entries({ step, warmupSteps })) {
    if (!(value >= 0)) throw errors.invalidNumber(name, String(value), 'a number from 0 on');
  }
  return warmupSteps === 0 ? 1 : Math.min(1, step / warmupSteps);
}
