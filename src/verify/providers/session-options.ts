import type { InferenceSession } from '../../runtime';
import { optionOf, type ProviderSpec } from './names';

/** A provider as onnxruntime-node wants it. */
export function toBinding({ provider, options }: ProviderSpec): InferenceSession.ExecutionProviderConfig {
  const handed = Object.entries(options).flatMap(([key, value]): [string, string | number][] => {
    const { binding, as } = optionOf(provider, key) ?? {};
    return binding === undefined ? [] : [[binding, as === 'number' ? Number(value) : value]];
  });
  return { name: provider, ...Object.fromEntries(handed) };
}

/** Options that are right but do not reach the provider: the binding has no way for them. */
export function notHandedOn({ provider, options }: ProviderSpec): string[] {
  return Object.keys(options).filter((key) => {
    const option = optionOf(provider, key);
    return option?.binding === undefined && !option?.otherwise;
  });
}
