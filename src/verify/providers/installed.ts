/** What of ONNX Runtime and of drivers lies on this machine, found without loading any of it. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { packageFolder } from '../../runtime';

/** Where its native libraries are for this platform. */
export function nativeFolder(): string {
  return join(packageFolder(), 'bin', 'napi-v6', process.platform, process.arch);
}

/** A provider's own library, `cuda` or `tensorrt`, which the npm package does not hold. */
export function providerLibrary(provider: string): string {
  return join(nativeFolder(), `libonnxruntime_providers_${provider}.so`);
}

/** The file behind a library's name where the loader finds it; undefined where it does not. Linux only. */
export function findLibrary(name: string): string | undefined {
  const folders = [...(process.env['LD_LIBRARY_PATH'] ?? '').split(':'), nativeFolder()].filter(Boolean);
  const beside = folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
  const found = beside ?? libraryCache().get(name);
  return found === undefined ? undefined : realpathSync(found);
}

let cache: Map<string, string> | undefined;

/** What `ldconfig` knows. */
function libraryCache(): Map<string, string> {
  const text = command('ldconfig', ['-p']) ?? command('/sbin/ldconfig', ['-p']) ?? '';
  cache ??= new Map(
    [...text.matchAll(/^\s*(\S+) \(.*\) => (\S+)$/gm)].map(([, name = '', file = '']) => [name, file]),
  );
  return cache;
}

/** The version in a library's file name: `libcudnn.so.9.1.0` gives 9.1.0. */
export function versionOf(file: string): string {
  return /\.so\.([\d.]+)$/.exec(basename(file))?.[1] ?? 'unknown';
}

/** The version of NVIDIA's kernel driver, undefined where there is none. */
export function nvidiaDriver(): string | undefined {
  try {
    const text = readFileSync('/proc/driver/nvidia/version', 'utf8');
    return /Kernel Module(?: for \S+)?\s+([\d.]+)/.exec(text)?.[1] ?? text.split('\n')[0];
  } catch {
    return undefined;
  }
}

/** NVIDIA's GPUs by name and memory, as its own tool lists them. */
export function nvidiaDevices(): string[] {
  const query = ['--query-gpu=name,memory.total', '--format=csv,noheader'];
  return (command('nvidia-smi', query) ?? '').split('\n').filter((line) => line.trim() !== '');
}

export interface VulkanDriver {
  readonly manifest: string;
  readonly apiVersion: string;
}

/** Vulkan drivers by their manifests, in the places where the loader looks. */
export function vulkanDrivers(): VulkanDriver[] {
  const given = process.env['VK_DRIVER_FILES'] ?? process.env['VK_ICD_FILENAMES'];
  const folders = ['/etc', '/usr/local/share', '/usr/share', join(homedir(), '.local/share')];
  const files =
    given === undefined
      ? folders.flatMap((folder) => filesOf(join(folder, 'vulkan', 'icd.d')))
      : given.split(':').filter((file) => existsSync(file));
  return files.flatMap((manifest) => {
    try {
      const { ICD } = JSON.parse(readFileSync(manifest, 'utf8')) as { ICD?: { api_version?: string } };
      return [{ manifest, apiVersion: ICD?.api_version ?? 'unknown' }];
    } catch {
      return [];
    }
  });
}

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => join(folder, name));
  } catch {
    return [];
  }
}

function command(name: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync(name, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 10_000,
    });
  } catch {
    return undefined;
  }
}
