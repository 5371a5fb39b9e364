/**
 * fast-check with a seed that stays the same: what lands does not depend on luck, and a failure is the same everywhere.
 * `DIFFX_PROPERTY_SEED=<number>` draws other cases.
 */
import fc from 'fast-check';

/** The seed of every property test. */
export const PROPERTY_SEED = Number(process.env['DIFFX_PROPERTY_SEED'] ?? 20_241_007);

fc.configureGlobal({ seed: PROPERTY_SEED });

export default fc;
