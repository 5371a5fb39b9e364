import type { ProviderSpec } from './names';
import { type Problem, recogniseProblem } from './problems';
import { tryProvider } from './try';

/**
 * Why a provider does not work on this machine, or undefined where it does: it is tried, since the lists that ONNX
 * Runtime gives name providers whose libraries are not there.
 */
export async function whyUnavailable(spec: ProviderSpec): Promise<Problem | undefined> {
  const { ranOn, said } = await tryProvider(spec);
  return ranOn === undefined ? recogniseProblem(spec.provider, said) : undefined;
}
