import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { encode, memoryBytes, parseModel, readModel, tensorsOf } from '../../src/onnx';
import { failure, field, floats, graph, model, node, temporaryFolder, tensor, varint } from './build';

const folder = temporaryFolder();
afterAll(folder.clear);
const whole = Buffer.from(
  encode(
    'ModelProto',
    model(
      [
        floats('w', 20),
        floats('large', 2000),
        tensor({ name: 'i', dataType: 7, int64Data: [1n, -1n], dims: [2n] }),
      ],
      {
        producerName: 'a producer',
        metadataProps: [{ key: 'k', value: 'v' }],
      },
    ),
  ).read(),
);
/** Reads all that can be read, so that no lazy part is spared. */
function readAll(bytes: Uint8Array): void {
  const file = parseModel(bytes);
  for (const found of tensorsOf('ModelProto', file.proto)) file.tensorBytes(found).read();
}

test('files that cannot be opened', () => {
  expect(failure(() => readModel(folder.in('gone.onnx')))).toMatch(/^file-not-found/);
  expect(failure(() => readModel(folder.in('gone/m.onnx')))).toMatch(/^file-not-found/);
  expect(failure(() => readModel(''))).toMatch(/^file-not-found/);
  expect(failure(() => readModel(folder.path))).toMatch(/^not-a-file/);
  expect(failure(() => readModel('/dev/null'))).toMatch(/^unreadable/);
  execFileSync('mkfifo', [folder.in('pipe')]);
  expect(failure(() => readModel(folder.in('pipe')))).toMatch(/^unreadable/);
  expect(failure(() => readModel(`${'n'.repeat(300)}.onnx`))).toMatch(/^unreadable/);
});

test.each([
  ['empty', '', 'the file is empty'],
  ['text', 'hello world, this is no model\n', 'a text file'],
  ['git', 'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'a Git LFS pointer'],
  ['zip', 'PK\x03\x04\x00\x00', 'a zip archive'],
  ['safetensors', '\x40\0\0\0\0\0\0\0{"w":{}}', 'a safetensors file'],
  ['gguf', 'GGUF\x03\0\0\0', 'a GGUF file'],
  ['ort', '\x18\0\0\0ORTM\0\0', '.ort format'],
  ['graphless', '\x08\x0a', 'it has no graph'],
])('what is no model is said to be what it is: %s', (name, content, reason) => {
  fs.writeFileSync(folder.in(name), Buffer.from(content, 'latin1'));
  const error = failure(() => readModel(folder.in(name)));
  expect(error).toMatch(/^not-a-model/);
  expect(error).toContain(reason);
  expect(error).toContain(folder.in(name));
});

test('a model that looks like text is a model all the same', () => {
  const name = 'n'.repeat(40);
  const printable = field(7, field(9, name), field(9, name)); // ':' 'T' 'J' '(' ...
  expect(printable.every((byte) => byte >= 0x20 && byte < 0x7f)).toBe(true);
  expect(parseModel(printable).proto.graph).toBeDefined();
});

describe('bytes that go wrong', () => {
  test('a model cut off at any byte gives a clear error, or is a shorter model', () => {
    let shorter = 0;
    for (let length = 0; length < whole.length; length += 1) {
      const cut = Buffer.from(whole.subarray(0, length));
      const error = failure(() => readAll(cut));
      expect(error).toMatch(/^(truncated|not-a-model|no error)/);
      if (error === 'no error') shorter += 1;
    }
    // Only where a field ends that stands in the model itself, after the graph.
    expect(shorter).toBeLessThanOrEqual(3);
  });

  test('the same for a file that is read by windows', () => {
    for (let length = 1; length < whole.length; length += 37) {
      fs.writeFileSync(folder.in('cut.onnx'), whole.subarray(0, length));
      const error = failure(() => readModel(folder.in('cut.onnx'), { inMemoryUpTo: 0 }));
      expect(error).toMatch(/^(truncated|not-a-model|no error)/);
    }
  });

  test('random bytes and changed bytes never give anything but a clear error', () => {
    let state = 1;
    const random = (below: number) => {
      state = (state * 48271) % 2147483647;
      return state % below;
    };
    for (let run = 0; run < 2000; run += 1) {
      const noise = createHash('sha512').update(String(run)).digest();
      expect(failure(() => readAll(noise))).toMatch(/^(truncated|not-a-model|tensor-invalid)/);
      const changed = Buffer.from(whole);
      for (let count = 0; count < 3; count += 1) changed[random(400)] = random(256);
      failure(() => readAll(changed));
    }
  });

  test('a length that exceeds the file says how much is missing', () => {
    const cut = whole.subarray(0, 500);
    expect(failure(() => parseModel(cut, { name: 'm.onnx' }))).toMatch(
      /^truncated: m.onnx: ends early: \d{4} bytes are announced, 500 are there$/,
    );
    const huge = Buffer.from([0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    expect(failure(() => parseModel(huge))).toMatch(/^truncated/);
  });

  test('a field does not reach into what follows its message', () => {
    const bytes = Buffer.concat([field(7, Uint8Array.of(0x12, 5, 0x61)), field(2, 'producer')]);
    expect(failure(() => parseModel(bytes))).toContain('a field is longer than the message that holds it');
  });

  test.each([
    [
      'a number longer than its message',
      Buffer.concat([field(7, Uint8Array.of(0x18, 0xff)), field(2, 'more')]),
    ],
    ['field number 0', Uint8Array.of(0x02, 0)],
    ['wire type 6', Uint8Array.of(0x0e, 0)],
    ['a number that never ends', new Uint8Array(64).fill(0xff)],
    ['a group that ends as another', Uint8Array.of(0xfb, 7, 0xf4, 7)],
    ['the end of a group that never began', Uint8Array.of(0xfc, 7)],
  ])('%s', (_, bytes) => {
    expect(failure(() => parseModel(bytes))).toMatch(/^(not-a-model|truncated)/);
  });

  test('messages and groups that lie in one another without end', () => {
    let type = field(1, varint(1, 1));
    for (let depth = 0; depth < 300; depth += 1) type = field(4, field(1, type));
    const deep = field(7, field(11, field(2, type)));
    expect(failure(() => parseModel(deep))).toContain('more than 100 deep');
    const groups = Buffer.concat([
      Buffer.alloc(3000, Uint8Array.of(0xfb, 7)),
      Buffer.alloc(3000, Uint8Array.of(0xfc, 7)),
    ]);
    expect(failure(() => parseModel(groups))).toContain('more than 100 deep');
  });

  test('a long packed field that is malformed gives its error when it is read', () => {
    const broken = tensor({ name: 't', dims: [5000n], dataType: 6 });
    const bytes = Buffer.concat([encode('TensorProto', broken).read(), field(5, Buffer.alloc(5000, 0xff))]);
    const file = parseModel(field(7, field(5, bytes)));
    const [found] = file.proto.graph?.initializer ?? [];
    expect(failure(() => found?.int32Data)).toMatch(/^not-a-model/);
    expect(failure(() => found && file.tensorBytes(found).read())).toMatch(/^not-a-model/);
  });
});

test('a file that changes while it is read is noticed', () => {
  const target = folder.in('changing.onnx');
  const body = graph({ node: [node({ name: 'n' })], initializer: [floats('w', 4000)] });
  const bytes = encode('ModelProto', model([], { graph: body })).read();
  const changes = [
    () => fs.utimesSync(target, 1, 1), // as if written again with other bytes of the same length
    () => fs.appendFileSync(target, 'x'),
    () => fs.truncateSync(target, 100),
  ];
  for (const change of changes) {
    fs.writeFileSync(target, bytes);
    const file = readModel(target, { inMemoryUpTo: 0 });
    const payload = file.proto.graph?.initializer[0]?.rawData ?? memoryBytes(new Uint8Array(0));
    expect(payload.read().length).toBe(16000);
    change();
    expect(failure(() => payload.read())).toMatch(/^(file-changed|truncated)/);
  }
});
