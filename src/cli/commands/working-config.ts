import type { Settings } from '../../config';
import { namesIn } from '../../onnx/folders';

/**
 * What the `diffx.config` file of the working directory says; nothing where there is none. The reader is loaded only
 * where there is one.
 * @throws DiffxError of configuration files
 */
export async function workingSettings(): Promise<Settings> {
  if (!hasWorkingConfig()) return {};
  const { readWorkingConfig } = await import('../../config/index.js');
  return readWorkingConfig('.')?.settings ?? {};
}

/**
 * The same, with the file of `--config` over it.
 * @throws DiffxError of configuration files
 */
export async function fileSettings(config: string | undefined): Promise<Settings> {
  const below = await workingSettings();
  if (config === undefined) return below;
  const { readConfig } = await import('../../config/index.js');
  return { ...below, ...readConfig(config, 'axolotl').settings };
}

/** Whether the working directory has a `diffx.config` file. Looks at names alone, so that none is loaded for nothing. */
export function hasWorkingConfig(): boolean {
  return namesIn('.').some((name) => /^diffx\.config\.(json|ya?ml)$/.test(name));
}
