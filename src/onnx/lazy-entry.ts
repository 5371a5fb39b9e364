import { computedBytes } from './bytes';
import { encode } from './encode';
import type { StringStringEntry } from './messages';
import { remember } from './trace';

/**
 * A metadata entry whose value is computed when it is read or written, and not before.
 * @param length of the value in UTF-8, which is known beforehand
 */
export function lazyEntry(key: string, length: number, value: () => string): StringStringEntry {
  const size = encode('StringStringEntryProto', { key, value: ' '.repeat(length) }).length;
  const entry = {
    key,
    get value() {
      return value();
    },
  };
  const original = computedBytes(size, () =>
    encode('StringStringEntryProto', { key, value: value() }).chunks(),
  );
  remember(entry, { original });
  return entry;
}
