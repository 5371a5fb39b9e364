/** What of ONNX Runtime works on this machine: `diffx doctor`. */
import { existsSync } from 'node:fs';
import { type Machine, machine } from './machine';
import { isOf, PROVIDERS, type Problem, type Provider, type ProviderSpec, parseProvider } from './providers';
import {
  findLibrary,
  nvidiaDevices,
  nvidiaDriver,
  providerLibrary,
  versionOf,
  vulkanDrivers,
} from './providers/installed';
import { recogniseProblem } from './providers/problems';
import { tryProvider } from './providers/try';

/** Something that was found on the machine, or looked for in vain. */
export interface Found {
  readonly what: string;
  /** Undefined where it is not there. */
  readonly version: string | undefined;
}

export interface ProviderState {
  /** As it was asked for. */
  readonly name: string;
  /** True if a node really ran on it. */
  readonly starts: boolean;
  /** As ONNX Runtime calls it in its profile. */
  readonly ranOn: string | undefined;
  readonly problem: Problem | undefined;
  /** Drivers and libraries that it needs. */
  readonly found: readonly Found[];
}

export interface Diagnosis extends Machine {
  readonly providers: readonly ProviderState[];
  /** True if all of them start. */
  readonly passed: boolean;
}

/**
 * Tries providers on a model of one node, each in a process of its own.
 * @param asked as `--ep` gives them. Default: one of each
 * @throws DiffxError unknown-provider, provider-option
 */
export async function diagnose(asked: readonly string[] = []): Promise<Diagnosis> {
  const specs = (asked.length > 0 ? asked : PROVIDERS).map((name) => parseProvider(name));
  const providers: ProviderState[] = [];
  // One after the other: they may share a device.
  for (const spec of specs) providers.push(await stateOf(spec));
  return {
    ...machine(),
    providers,
    passed: providers.every(({ starts }) => starts),
  };
}

async function stateOf(spec: ProviderSpec): Promise<ProviderState> {
  const { ranOn, said } = await tryProvider(spec);
  const starts = isOf(spec.provider, ranOn);
  const problem = starts ? undefined : problemOf(spec.provider, ranOn, said);
  return { name: spec.text, starts, ranOn, problem, found: needsOf(spec.provider) };
}

function problemOf(provider: Provider, ranOn: string | undefined, said: string): Problem {
  if (ranOn === undefined) return recogniseProblem(provider, said);
  return {
    kind: 'other',
    missing: `its node ran on ${ranOn} instead`,
    remedy: 'Report this as a bug of diffx.',
  };
}

function needsOf(provider: Provider): Found[] {
  if (process.platform !== 'linux') return [];
  switch (provider) {
    case 'cuda':
      return [...nvidia(), own('cuda'), ...CUDA_LIBRARIES.map(library)];
    case 'tensorrt':
      return [own('tensorrt'), ...TENSORRT_LIBRARIES.map(library)];
    case 'webgpu':
      return vulkan();
    case 'cpu':
    case 'dml':
    case 'coreml':
      return [];
  }
}

const CUDA_LIBRARIES = [
  'libcudart.so.12',
  'libcublas.so.12',
  'libcublasLt.so.12',
  'libcudnn.so.9',
  'libcurand.so.10',
  'libcufft.so.11',
];
const TENSORRT_LIBRARIES = ['libnvinfer.so.10', 'libnvinfer_plugin.so.10', 'libnvonnxparser.so.10'];

function nvidia(): Found[] {
  return [
    { what: 'NVIDIA driver', version: nvidiaDriver() },
    ...nvidiaDevices().map((device, index) => ({ what: `device ${index}`, version: device })),
  ];
}

/** ONNX Runtime's own library for a provider, of which the package says the version. */
function own(provider: Provider): Found {
  const file = providerLibrary(provider);
  return {
    what: `libonnxruntime_providers_${provider}.so`,
    version: existsSync(file) ? machine().onnxRuntime : undefined,
  };
}

function library(name: string): Found {
  const file = findLibrary(name);
  return { what: name, version: file === undefined ? undefined : versionOf(file) };
}

function vulkan(): Found[] {
  const drivers = vulkanDrivers();
  return [
    library('libvulkan.so.1'),
    ...(drivers.length === 0 ? [{ what: 'Vulkan driver', version: undefined }] : []),
    ...drivers.map(({ manifest, apiVersion }) => ({ what: manifest, version: `Vulkan ${apiVersion}` })),
  ];
}
