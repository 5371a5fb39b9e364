/**
 * Writes a Llama-like decoder of any size, for benchmarks:
 *
 *     node dist/test/bench/generate.js --layers 2 --hidden 256 --heads 8 --kv-heads 2 --out small.onnx
 */
import { parseArgs } from 'node:util';
import { writeModel } from '../../src/onnx';
import { DEFAULT_SIZE, type LlamaSize, llama } from './llama';

/** The options of the sizes, for `parseArgs`. */
export const SIZE_OPTIONS = {
  layers: { type: 'string' },
  hidden: { type: 'string' },
  heads: { type: 'string' },
  'kv-heads': { type: 'string' },
  intermediate: { type: 'string' },
  vocab: { type: 'string' },
} as const;

/** @throws RangeError where a size is no positive number */
export function sizeOf(
  values: { readonly [K in keyof typeof SIZE_OPTIONS]?: string | undefined },
): LlamaSize {
  const number = (name: keyof typeof SIZE_OPTIONS, otherwise: number): number => {
    const value = Number(values[name] ?? otherwise);
    if (!Number.isInteger(value) || value < 1) {
      throw new RangeError(`--${name} takes a positive number, not ${values[name]}`);
    }
    return value;
  };
  return {
    layers: number('layers', DEFAULT_SIZE.layers),
    hidden: number('hidden', DEFAULT_SIZE.hidden),
    heads: number('heads', DEFAULT_SIZE.heads),
    kvHeads: number('kv-heads', DEFAULT_SIZE.kvHeads),
    intermediate: number('intermediate', DEFAULT_SIZE.intermediate),
    vocab: number('vocab', DEFAULT_SIZE.vocab),
  };
}

if (require.main === module) {
  const { values } = parseArgs({ options: { ...SIZE_OPTIONS, out: { type: 'string' } } });
  const out = values.out ?? 'llama.onnx';
  writeModel(llama(sizeOf(values)), out, { force: true });
  console.log(out);
}
