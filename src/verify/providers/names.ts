/**
 * Execution providers by name. ONNX Runtime runs an unknown name next to a known one silently on the CPU, and the
 * binding for Node ignores most options silently, so both are checked here, and a session has exactly one provider.
 */
import { errors } from '../../errors';
import { OPTIONS, type ProviderOption } from './options';

/** The providers that builds of onnxruntime-node have, on one platform or another. */
export const PROVIDERS = ['cpu', 'cuda', 'tensorrt', 'webgpu', 'dml', 'coreml'] as const;
export type Provider = (typeof PROVIDERS)[number];

/** A provider with its options, as `--ep` gives it. */
export interface ProviderSpec {
  readonly provider: Provider;
  /** By ONNX Runtime's names: `device_id`. */
  readonly options: Readonly<Record<string, string>>;
  /** As it was asked for: `cuda:device_id=1`. */
  readonly text: string;
}

export const CPU: ProviderSpec = { provider: 'cpu', options: {}, text: 'cpu' };

/**
 * Parses `cuda`, `cuda:1` (the number of a device), or `cuda:device_id=1,use_tf32=1`; names of options as ONNX Runtime
 * has them, or as its JavaScript interface does (`deviceId`).
 * @throws DiffxError unknown-provider, provider-option (exit 2)
 */
export function parseProvider(text: string): ProviderSpec {
  const [name = '', ...rest] = text.split(':');
  const provider = PROVIDERS.find((each) => each === name);
  if (!provider) throw errors.unknownProvider(name, PROVIDERS);
  if (rest.length === 0) return { provider, options: {}, text };
  const options: Record<string, string> = {};
  for (const item of rest.join(':').split(',')) {
    const [key, value] = parseOption(text, provider, item.trim());
    if (key in options) throw errors.providerOption(text, `'${key}' is given twice`, known(provider));
    options[key] = value;
  }
  return { provider, options, text };
}

/** `--ep`, given once, several times or not at all; the same one twice is one. */
export function parseProviders(given: string | readonly string[] | undefined): ProviderSpec[] {
  const texts = given === undefined ? ['cpu'] : typeof given === 'string' ? [given] : given;
  return [
    ...new Map((texts.length === 0 ? ['cpu'] : texts).map((text) => [text, parseProvider(text)])).values(),
  ];
}

function parseOption(text: string, provider: Provider, item: string): [string, string] {
  const device = /^\d+$/.test(item);
  const [, name = '', value = ''] = device ? ['', 'device_id', item] : (/^(\w+)=(.+)$/.exec(item) ?? []);
  if (name === '')
    throw errors.providerOption(text, `'${item}' is not of the form name=value`, known(provider));
  const key = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const option = optionOf(provider, key);
  if (!option) {
    const what = device ? 'takes no number of a device' : `has no option '${name}'`;
    throw errors.providerOption(text, `${provider} ${what}`, known(provider));
  }
  if (!option.values.test(value))
    throw errors.providerOption(text, `'${value}' is no value of ${key}`, option.says);
  return [key, value];
}

/** What is known of an option; undefined where the provider has none of that name. */
export function optionOf(provider: Provider, key: string): ProviderOption | undefined {
  const own = OPTIONS[provider];
  const pattern = Object.keys(own).find(
    (each) => each === key || (each.endsWith('*') && key.startsWith(each.slice(0, -1))),
  );
  return pattern === undefined ? undefined : own[pattern];
}

function known(provider: Provider): string {
  const names = Object.keys(OPTIONS[provider]);
  return names.length === 0 ? `${provider} has no options.` : `Options of ${provider}: ${names.join(', ')}.`;
}

/** Whether ONNX Runtime's name of a provider, such as `CUDAExecutionProvider`, is that of ours. */
export function isOf(provider: Provider, ranOn: string | undefined): boolean {
  return ranOn?.toLowerCase() === `${provider}executionprovider`;
}
