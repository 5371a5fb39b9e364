import { readFileSync } from 'node:fs';
import { arch, cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { packageFolder } from '../runtime';

/** Where something was run. */
export interface Machine {
  /** Version of ONNX Runtime, as its package says. */
  readonly onnxRuntime: string;
  readonly node: string;
  readonly platform: string;
  readonly cores: number;
  /** Bytes. */
  readonly memory: number;
}

export function machine(): Machine {
  return {
    onnxRuntime: runtimeVersion(),
    node: process.versions.node,
    platform: `${process.platform} ${arch()} ${release()}`,
    cores: cpus().length,
    memory: totalmem(),
  };
}

function runtimeVersion(): string {
  const { version } = JSON.parse(readFileSync(join(packageFolder(), 'package.json'), 'utf8')) as {
    version: string;
  };
  return version;
}
