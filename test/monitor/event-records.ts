/** TensorBoard's event files, read by what their formats say and not by the code that writes them. */

export interface ReadEvent {
  readonly wallTime: number;
  readonly step: number;
  readonly fileVersion: string | undefined;
  readonly scalars: Readonly<Record<string, number>>;
}

/** CRC-32C bit by bit: polynomial 0x1EDC6F41, reflected. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** TFRecords store a checksum rotated right by 15 bits, plus a constant. */
function unmask(masked: number): number {
  const rotated = (masked - 0xa282ead8) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
}

/** @throws Error where a length or a checksum is wrong */
export function readEvents(file: Buffer): ReadEvent[] {
  const events: ReadEvent[] = [];
  for (let at = 0; at < file.length; ) {
    const header = file.subarray(at, at + 8);
    const length = Number(header.readBigUInt64LE());
    const data = file.subarray(at + 12, at + 12 + length);
    for (const [part, checksum] of [
      [header, file.readUInt32LE(at + 8)],
      [data, file.readUInt32LE(at + 12 + length)],
    ] as const) {
      if (crc32c(part) !== unmask(checksum)) throw new Error(`wrong checksum at ${at}`);
    }
    events.push(readEvent(data));
    at += 16 + length;
  }
  return events;
}

type Field = readonly [number: number, value: number | Buffer];

/** Fields of a protobuf message: varints, 64 bits, 32 bits, or bytes. */
function* fieldsOf(data: Buffer): Iterable<Field> {
  let at = 0;
  const varint = () => {
    let [value, factor] = [0, 1];
    for (;;) {
      const byte = data.readUInt8(at++);
      value += (byte & 127) * factor;
      factor *= 128;
      if (byte < 128) return value;
    }
  };
  while (at < data.length) {
    const key = varint();
    const [number, type] = [key >>> 3, key & 7];
    if (type === 0) yield [number, varint()];
    else if (type === 1) {
      yield [number, data.readDoubleLE(at)];
      at += 8;
    } else if (type === 5) {
      yield [number, data.readFloatLE(at)];
      at += 4;
    } else {
      const length = varint();
      yield [number, data.subarray(at, at + length)];
      at += length;
    }
  }
}

function readEvent(data: Buffer): ReadEvent {
  const fields = new Map(fieldsOf(data));
  const summary = fields.get(5);
  const version = fields.get(3);
  return {
    wallTime: Number(fields.get(1) ?? 0),
    step: Number(fields.get(2) ?? 0),
    fileVersion: version === undefined ? undefined : String(version),
    scalars: Object.fromEntries(
      summary instanceof Buffer ? [...fieldsOf(summary)].map(([, value]) => readScalar(value)) : [],
    ),
  };
}

function readScalar(value: number | Buffer): [string, number] {
  if (!(value instanceof Buffer)) throw new Error('not a message');
  const fields = new Map(fieldsOf(value));
  return [String(fields.get(1)), Number(fields.get(2))];
}
