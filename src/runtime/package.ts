import { dirname } from 'node:path';

/** The folder of the installed onnxruntime-node. */
export function packageFolder(): string {
  return dirname(require.resolve('onnxruntime-node/package.json'));
}
