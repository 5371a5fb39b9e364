import { existsSync } from 'node:fs';
import * as path from 'node:path';
import { globSync } from 'tinyglobby';
import { errors } from '../errors';

/** Numbers in names count as numbers: batch-2 stands before batch-10. */
const order = new Intl.Collator('en', { numeric: true });

/**
 * Files by name or pattern (`batches/*.safetensors`), those of one pattern in order, each once.
 * @throws DiffxError no-inputs where a pattern matches nothing
 */
export function findBatches(patterns: readonly string[]): string[] {
  const files = patterns.flatMap((pattern) => {
    // A file may have brackets in its name.
    if (existsSync(pattern)) return [pattern];
    const found = globSync([pattern], {
      absolute: path.isAbsolute(pattern),
      expandDirectories: false,
      dot: true,
    });
    if (found.length === 0) throw errors.noInputs(pattern);
    return found.sort(order.compare);
  });
  return [...new Map(files.map((file) => [path.resolve(file), file])).values()];
}
