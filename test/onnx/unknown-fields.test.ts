import { Writer } from 'protobufjs';
import { type ByteRange, decode, derive, encode, type MessageName, type Messages } from '../../src/onnx';
import { field, varint } from './build';

const bytesOf = (range: ByteRange) => Buffer.from(range.read());
const read = <N extends MessageName>(type: N, ...parts: Uint8Array[]): Messages[N] =>
  decode(type, Buffer.concat(parts));

describe('unknown fields', () => {
  /** Of every wire type, groups included. */
  const group = Uint8Array.of(0xfb, 0x07, 0x08, 0x01, 0x13, 0x14, 0xfc, 0x07); // 127 { 1: 1, 2 {} }
  const fixed = Writer.create()
    .uint32(500 * 8 + 1)
    .fixed64(7)
    .uint32(501 * 8 + 5)
    .fixed32(8)
    .finish();
  const unknown = Buffer.concat([varint(900, -1), field(901, 'kept'), group, fixed]);

  test('survive a change of the message that holds them, at every level', () => {
    const inner = field(5, unknown, field(8, 'w'), field(13, unknown, field(1, 'k')));
    const attribute = field(5, field(1, 'a'), field(6, unknown, inner), unknown);
    const type = field(2, field(1, unknown, field(2, unknown, field(1, unknown, varint(1, 3)))), unknown);
    const body = field(
      7,
      unknown,
      field(1, attribute, unknown),
      field(11, field(1, 'x'), type, unknown),
      inner,
    );
    const call = field(25, field(7, unknown, attribute), unknown);
    const whole = read('ModelProto', unknown, body, call);
    const count = (bytes: Buffer) => bytes.toString('latin1').split(unknown.toString('latin1')).length - 1;
    const before = Buffer.concat([unknown, body, call]);
    const after = bytesOf(encode('ModelProto', touch(whole)));
    expect(count(before)).toBe(20);
    expect(count(after)).toBe(20);
    expect(after.equals(before)).toBe(false);
  });

  test('that the schema knows but messages.ts does not are kept too', () => {
    const device = field(10, field(1, 'gpu'), varint(3, 2));
    const parsed = read('NodeProto', field(4, 'b'), device);
    const bytes = bytesOf(encode('NodeProto', derive(parsed, { name: 'n' })));
    expect(bytes.equals(Buffer.concat([field(3, 'n'), field(4, 'b'), device]))).toBe(true);
  });

  /** Derives every message, so that none is written as it was read. */
  function touch<T>(value: T): T {
    if (Array.isArray(value)) return value.map(touch) as T;
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array || 'chunks' in value)
      return value;
    const touched = Object.entries(value).map(([key, inner]) => [key, touch(inner)]);
    return derive(derive(value, { mark: 1 } as object), { ...Object.fromEntries(touched), mark: undefined });
  }
});
