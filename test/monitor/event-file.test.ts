/** Event files are what TensorBoard reads: TFRecords with checksums, protobuf inside. */
import { eventFile } from '../../src/monitor/event-file';
import { crc32c, readEvents } from './event-records';

const events = [
  {
    wallTime: 1764000000.25,
    step: 100,
    scalars: { 'layer_0/lambda1': 1.5, 'aggregate/diff_attn_mix': 0.25 },
  },
  {
    wallTime: 1764000009.5,
    step: 2 ** 40,
    scalars: { 'layer_0/lambda1': -0.1, 'layer_12/attn1_std': Number.NaN },
  },
  { wallTime: 1764000010, step: 300, scalars: {} },
];

test('the reader of the tests computes the checksum of RFC 3720', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
});

test('the first record names the version, the others hold the scalars', () => {
  const [first, ...read] = readEvents(Buffer.from(eventFile(events)));
  expect(first).toEqual({ wallTime: 1764000000.25, step: 0, fileVersion: 'brain.Event:2', scalars: {} });
  expect(read).toEqual(
    events.map(({ wallTime, step, scalars }) => ({
      wallTime,
      step,
      fileVersion: undefined,
      scalars: Object.fromEntries(Object.entries(scalars).map(([tag, value]) => [tag, Math.fround(value)])),
    })),
  );
});

test('a flipped bit is found', () => {
  const bytes = Buffer.from(eventFile(events));
  for (const at of [3, 20, bytes.length - 20]) {
    const damaged = Buffer.from(bytes);
    damaged[at] = (damaged[at] ?? 0) ^ 4;
    expect(() => readEvents(damaged)).toThrow();
  }
});

test('without events there is a version all the same', () => {
  expect(readEvents(Buffer.from(eventFile([])))).toHaveLength(1);
});
