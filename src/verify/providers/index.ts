/** Execution providers: their names and options, whether they start here, and why not. */

export {
  CPU,
  isOf,
  PROVIDERS,
  type Provider,
  type ProviderSpec,
  parseProvider,
  parseProviders,
} from './names';
export {
  installCommand,
  isDeviceLost,
  isOutOfMemory,
  outOfMemory,
  type Problem,
  type ProblemKind,
} from './problems';
export { notHandedOn, toBinding } from './session-options';
export { settleTf32, usesTf32 } from './tf32';
export { whyUnavailable } from './why-unavailable';
