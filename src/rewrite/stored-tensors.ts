import type { Safetensors } from '../weights/safetensors';

/** True if a checkpoint holds one tensor under two names: tied weights that were saved twice. */
export function sameStored(checkpoint: Safetensors, one: string, other: string): boolean {
  const [a, b] = [checkpoint.get(one), checkpoint.get(other)];
  if (!a || !b || a.dtype !== b.dtype || a.shape.join() !== b.shape.join()) return false;
  return Buffer.compare(a.data.read(), b.data.read()) === 0;
}
