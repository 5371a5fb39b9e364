import { elementCount } from '../analyse';
import { computedBytes } from '../onnx';
import type { StoredTensor } from '../weights/safetensors';

/**
 * A checkpoint tensor of 2 * h * d rows whose heads 2i and 2i + 1 are the components of head i, with all positive heads
 * before all negative ones.
 * @param heads h
 */
export function inHalves(tensor: StoredTensor, heads: number): StoredTensor {
  const { data, shape } = tensor;
  const [rows = 0] = shape;
  const headBytes = data.length / (heads * 2);
  if (rows % (heads * 2) !== 0 || elementCount(shape) === 0) return tensor;
  return {
    ...tensor,
    data: computedBytes(data.length, function* () {
      const bytes = data.read();
      for (const component of [0, 1]) {
        for (let head = 0; head < heads; head++) {
          const from = (2 * head + component) * headBytes;
          yield bytes.subarray(from, from + headBytes);
        }
      }
    }),
  };
}
