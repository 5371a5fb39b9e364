/** The wire format of protobuf, without a schema: fields as they stand in the bytes. */

export interface Field {
  readonly number: number;
  /** 0 varint, 1 eight bytes, 2 bytes with their length, 5 four bytes. */
  readonly type: number;
  /** Of a varint its bytes as they stand; of type 2 without the length. */
  readonly payload: Uint8Array;
}

interface Varint {
  readonly value: number;
  readonly end: number;
}

function readVarint(bytes: Uint8Array, at: number): Varint | undefined {
  let value = 0;
  for (let i = 0; i < 10; i++) {
    const byte = bytes[at + i];
    if (byte === undefined) return undefined;
    value += (byte & 127) * 2 ** (7 * i);
    if (byte < 128) return { value, end: at + i + 1 };
  }
  return undefined;
}

export function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Uint8Array.from([...bytes, rest]);
}

/** The fields of a message; undefined where the bytes are none. */
export function readFields(bytes: Uint8Array): Field[] | undefined {
  const fields: Field[] = [];
  for (let at = 0; at < bytes.length; ) {
    const key = readVarint(bytes, at);
    if (!key || key.value < 8) return undefined;
    const [number, type] = [Math.floor(key.value / 8), key.value % 8];
    const start = key.end;
    if (type === 2) {
      const length = readVarint(bytes, start);
      if (!length || length.end + length.value > bytes.length) return undefined;
      at = length.end + length.value;
      fields.push({ number, type, payload: bytes.subarray(length.end, at) });
      continue;
    }
    const end =
      type === 0
        ? readVarint(bytes, start)?.end
        : type === 1
          ? start + 8
          : type === 5
            ? start + 4
            : undefined;
    if (end === undefined || end > bytes.length) return undefined;
    fields.push({ number, type, payload: bytes.subarray(start, end) });
    at = end;
  }
  return fields;
}

export function writeFields(fields: readonly Field[]): Uint8Array {
  const parts = fields.flatMap(({ number, type, payload }) => {
    const key = varint(number * 8 + type);
    return type === 2 ? [key, varint(payload.length), payload] : [key, payload];
  });
  return new Uint8Array(Buffer.concat(parts));
}
