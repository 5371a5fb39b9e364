import { buf as crc32c } from 'crc-32/crc32c';
import { Root } from 'protobufjs';

/** TensorBoard's event files: TFRecords of the protobuf message `Event` (tensorflow/core/util/event.proto). */

/** The fields of `Event` and `Summary` that scalars need. */
const SCHEMA = Root.fromJSON({
  nested: {
    Event: {
      fields: {
        wallTime: { type: 'double', id: 1 },
        step: { type: 'int64', id: 2 },
        fileVersion: { type: 'string', id: 3 },
        summary: { type: 'Summary', id: 5 },
      },
    },
    Summary: { fields: { value: { rule: 'repeated', type: 'Value', id: 1 } } },
    Value: { fields: { tag: { type: 'string', id: 1 }, simpleValue: { type: 'float', id: 2 } } },
  },
});
const EVENT = SCHEMA.lookupType('Event');

/** What every event file begins with. */
const FILE_VERSION = 'brain.Event:2';

/** Readers look for this in a file's name. */
export const EVENT_FILE = 'events.out.tfevents.0000000000.diffx';

/** Scalars of one step. */
export interface ScalarEvent {
  /** Seconds since 1970. */
  readonly wallTime: number;
  readonly step: number;
  readonly scalars: Readonly<Record<string, number>>;
}

/** The bytes of an event file. */
export function eventFile(events: readonly ScalarEvent[]): Uint8Array {
  const first = { wallTime: events[0]?.wallTime ?? 0, fileVersion: FILE_VERSION };
  const messages = events.map(({ wallTime, step, scalars }) => {
    const value = Object.entries(scalars).map(([tag, simpleValue]) => ({ tag, simpleValue }));
    return { wallTime, step, summary: { value } };
  });
  return Buffer.concat([first, ...messages].flatMap((message) => record(EVENT.encode(message).finish())));
}

/** A TFRecord: length, checksum of the length, data, checksum of the data; little-endian. */
function record(data: Uint8Array): Uint8Array[] {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(data.length));
  return [length, masked(length), data, masked(data)];
}

/** CRC-32C, rotated and shifted as TFRecords have it. */
function masked(data: Uint8Array): Uint8Array {
  const crc = crc32c(data);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0);
  return bytes;
}
