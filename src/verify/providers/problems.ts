/** Why a provider does not start or gives up, recognised by what ONNX Runtime and the drivers say. */
import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { packageFolder } from '../../runtime';
import { findLibrary, nvidiaDriver, providerLibrary, vulkanDrivers } from './installed';
import type { Provider } from './names';

export type ProblemKind =
  | 'not-in-build'
  | 'not-installed'
  | 'library-missing'
  | 'driver-missing'
  | 'no-device'
  | 'out-of-memory'
  | 'crash'
  | 'other';

export interface Problem {
  readonly kind: ProblemKind;
  /** What is missing, in a few words. */
  readonly missing: string;
  /** What to do about it: a command where there is one. */
  readonly remedy: string;
}

/** What lies on the machine, as far as it tells causes apart; another one for tests. */
export interface Machine {
  readonly platform: string;
  /** Whether the provider's own library is there, for those that the npm package does not hold. */
  hasProviderLibrary(provider: Provider): boolean;
  hasLibrary(name: string): boolean;
  hasNvidiaDriver(): boolean;
  vulkanDrivers(): number;
}

export const thisMachine: Machine = {
  platform: `${process.platform} ${process.arch}`,
  hasProviderLibrary: (provider) => existsSync(providerLibrary(provider)),
  hasLibrary: (name) => findLibrary(name) !== undefined,
  hasNvidiaDriver: () => nvidiaDriver() !== undefined,
  vulkanDrivers: () => vulkanDrivers().length,
};

/** The loader's complaint about a library: on Linux, as glibc words it. */
const CANNOT_OPEN = /(lib[\w+-]+\.so[\w.]*): cannot open shared object file/g;
const OUT_OF_MEMORY =
  /out of memory|out_of_(device|host)_memory|ALLOC_FAILED|Failed to allocate memory|bad_alloc|AllocateRawInternal/i;
const NO_DEVICE = /no CUDA-capable device|invalid device ordinal|cudaErrorNoDevice|CUDA failure (100|101)\b/i;
const OLD_DRIVER =
  /driver version is insufficient|cudaErrorInsufficientDriver|CUDA failure 35\b|driver\/library version/i;
const NO_ADAPTER = /Failed to get a WebGPU adapter|No supported adapters/i;
const LOST = /device (was |is )?lost|DEVICE_LOST/i;

const isNvidia = (provider: Provider) => provider === 'cuda' || provider === 'tensorrt';

/** True for what a provider says when its memory is used up. */
export function isOutOfMemory(said: string): boolean {
  return OUT_OF_MEMORY.test(said);
}

/** True for what says that the provider's device is gone. */
export function isDeviceLost(said: string): boolean {
  return LOST.test(said);
}

/** The memory of the device is used up. */
export function outOfMemory(): Problem {
  return {
    kind: 'out-of-memory',
    missing: 'its memory is used up',
    remedy: 'Free memory of the device, choose another one, or verify on cpu.',
  };
}

/** What a provider lacks, from what was said when it was tried. */
export function recogniseProblem(provider: Provider, said: string, machine: Machine = thisMachine): Problem {
  if (/backend not found/.test(said)) return notInBuild(provider, machine);
  if (OUT_OF_MEMORY.test(said)) return outOfMemory();
  if (isNvidia(provider)) {
    const known = nvidiaProblem(provider, said, machine);
    if (known) return known;
  }
  if (NO_ADAPTER.test(said)) return noAdapter(machine);
  const crash = /process crashed \(\w+\)|did not start within \d+ s/.exec(said);
  if (crash)
    return { kind: 'crash', missing: `its driver: ${crash[0]}`, remedy: 'Update the driver of the device.' };
  return { kind: 'other', missing: firstLine(said), remedy: 'diffx doctor shows what is there.' };
}

function nvidiaProblem(provider: Provider, said: string, machine: Machine): Problem | undefined {
  if (!machine.hasProviderLibrary(provider)) return notInstalled(provider, machine);
  const missing = [...said.matchAll(CANNOT_OPEN)].map(([, library = '']) => library);
  const library = missing.find((name) => !name.startsWith('libonnxruntime_'));
  if (library === 'libcuda.so.1' || (!machine.hasNvidiaDriver() && library === undefined)) return noDriver();
  if (library !== undefined) return noLibrary(library);
  if (OLD_DRIVER.test(said))
    return {
      kind: 'driver-missing',
      missing: "a newer driver: NVIDIA's is too old for CUDA 12",
      remedy: DRIVER,
    };
  if (NO_DEVICE.test(said))
    return {
      kind: 'no-device',
      missing: /ordinal|101/.test(said) ? 'a device of that number' : 'a device: the driver sees no GPU',
      remedy: 'nvidia-smi lists the devices; CUDA_VISIBLE_DEVICES may hide them.',
    };
  return undefined;
}

const DRIVER =
  'apt-get install nvidia-driver, or as your system has it; 525 or newer. nvidia-smi must list the GPU.';

function noDriver(): Problem {
  return { kind: 'driver-missing', missing: 'the driver of an NVIDIA GPU (libcuda.so.1)', remedy: DRIVER };
}

/** Packages of NVIDIA's repository for Debian and Ubuntu, by the beginnings of libraries' names. */
const PACKAGES: readonly (readonly [string, string])[] = [
  ['libcudnn', 'cudnn9-cuda-12'],
  ['libcublas', 'libcublas-12-9'],
  ['libcudart', 'cuda-cudart-12-9'],
  ['libcurand', 'libcurand-12-9'],
  ['libcufft', 'libcufft-12-9'],
  ['libnvrtc', 'cuda-nvrtc-12-9'],
  ['libnvinfer', 'libnvinfer10 libnvinfer-plugin10'],
  ['libnvonnxparser', 'libnvonnxparsers10'],
];

function noLibrary(library: string): Problem {
  const name = PACKAGES.find(([beginning]) => library.startsWith(beginning))?.[1];
  const remedy = name === undefined ? `Install ${library}.` : `apt-get install ${name} (NVIDIA's repository)`;
  return { kind: 'library-missing', missing: `the library ${library}`, remedy };
}

function notInstalled(provider: Provider, { platform }: Machine): Problem {
  const missing = `ONNX Runtime's library for it (libonnxruntime_providers_${provider}.so)`;
  if (platform !== 'linux x64') return notInBuild(provider, { platform });
  return { kind: 'not-installed', missing, remedy: installCommand() };
}

/** Fetches the libraries for CUDA 12 and TensorRT. The form `=cuda12` does nothing and says nothing. */
export function installCommand(): string {
  const script = relative(process.cwd(), join(packageFolder(), 'script', 'install.js'));
  return `node ${script} --onnxruntime-node-install`;
}

/** Where builds of onnxruntime-node have a provider. */
const PLATFORMS: Readonly<Partial<Record<Provider, string>>> = {
  cuda: 'Linux on x64',
  tensorrt: 'Linux on x64',
  dml: 'Windows',
  coreml: 'macOS',
};

function notInBuild(provider: Provider, { platform }: Pick<Machine, 'platform'>): Problem {
  return {
    kind: 'not-in-build',
    missing: `onnxruntime-node for ${platform} is built without it`,
    remedy: `Run it on ${PLATFORMS[provider] ?? 'another platform'}; diffx doctor shows what starts here.`,
  };
}

function noAdapter(machine: Machine): Problem {
  const remedy =
    'apt-get install mesa-vulkan-drivers libvulkan1 (Mesa 25 or newer), or the driver of your GPU';
  if (machine.platform.startsWith('linux') && !machine.hasLibrary('libvulkan.so.1'))
    return { kind: 'library-missing', missing: 'the Vulkan loader (libvulkan.so.1)', remedy };
  if (machine.platform.startsWith('linux') && machine.vulkanDrivers() === 0)
    return { kind: 'driver-missing', missing: 'a Vulkan driver', remedy };
  return { kind: 'no-device', missing: 'a device: no driver offers one that WebGPU can use', remedy };
}

function firstLine(said: string): string {
  const line = said.split('\n').find((each) => each.trim() !== '') ?? 'no reason given';
  return line.replace(/\s+/g, ' ').trim().slice(0, 300);
}
