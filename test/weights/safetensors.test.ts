import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DiffxError } from '../../src/errors';
import { computedBytes, memoryBytes } from '../../src/onnx/bytes';
import { DataType } from '../../src/onnx/data-types';
import { decodeFloats } from '../../src/onnx/floats';
import { openSafetensors } from '../../src/weights/checkpoint';
import { duplicateKey } from '../../src/weights/duplicate-key';
import { type TensorToWrite, writeSafetensors } from '../../src/weights/safetensors-write';
import { openExport } from '../support/fixtures';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'diffx-safetensors-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A file put together by hand, as the format's README describes it. */
function file(name: string, header: object | string, dataBytes: number, headerLength?: number): string {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(headerLength ?? json.length));
  const data = Buffer.from(Uint8Array.from({ length: dataBytes }, (_, i) => i));
  const path = join(folder, name);
  writeFileSync(path, Buffer.concat([prefix, json, data]));
  return path;
}

function failure(action: () => unknown): DiffxError {
  try {
    action();
  } catch (error) {
    if (error instanceof DiffxError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const tensor = (dtype: DataType, shape: number[], bytes: Uint8Array): TensorToWrite => ({
  dtype,
  shape,
  data: memoryBytes(bytes),
});
const f32 = (dtype: string, shape: unknown, ...data_offsets: unknown[]) => ({ dtype, shape, data_offsets });

describe('reading', () => {
  test('names, types, shapes, metadata and the bytes of each tensor', () => {
    const path = file(
      'a.safetensors',
      {
        __metadata__: { format: 'pt' },
        'b.weight': f32('F32', [2], 6, 14),
        '7': f32('U8', [2, 3], 0, 6),
        scalar: f32('BOOL', [], 14, 15),
        empty: f32('F16', [0, 5], 15, 15),
      },
      15,
    );
    const opened = openSafetensors(path);
    expect(opened.names).toEqual(['7', 'b.weight', 'scalar', 'empty']);
    expect(opened.metadata).toEqual({ format: 'pt' });
    expect(opened.get('b.weight')).toMatchObject({ dtype: DataType.FLOAT, shape: [2], file: path });
    expect(opened.get('b.weight')?.data.read()).toEqual(Uint8Array.of(6, 7, 8, 9, 10, 11, 12, 13));
    expect(opened.get('7')?.data.read()).toEqual(Uint8Array.of(0, 1, 2, 3, 4, 5));
    expect(opened.get('scalar')?.data.length).toBe(1);
    expect(opened.get('empty')?.data.read()).toHaveLength(0);
    expect(opened.get('nothing')).toBeUndefined();
  });

  test('a file without tensors, and a header padded with spaces', () => {
    expect(openSafetensors(file('a.safetensors', '{}', 0)).names).toEqual([]);
    expect(
      openSafetensors(file('b.safetensors', '{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}   ', 1))
        .names,
    ).toEqual(['a']);
  });

  test('a tensor that is larger than a piece comes in pieces', () => {
    const size = (1 << 20) + 3;
    const opened = openSafetensors(file('a.safetensors', { a: f32('U8', [size], 0, size) }, size));
    const lengths = Array.from(opened.get('a')?.data.chunks() ?? [], (piece) => [piece.length, piece[0]]);
    expect(lengths).toEqual([
      [1 << 20, 0],
      [3, 0],
    ]);
    expect(opened.get('a')?.data.read()).toHaveLength(size);
  });

  test.each<[what: string, header: object | string, dataBytes: number, message: string]>([
    ['text', 'hello', 0, 'not a safetensors file (its header does not begin with {)'],
    ['broken JSON', '{"a":', 0, 'its header is not valid JSON'],
    ['a list in a list', '{"a":[1]}', 0, "tensor 'a': its entry is not an object"],
    ['a duplicate', '{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"\\u0061":{}}', 1, "two keys 'a'"],
    ['metadata that is a number', { __metadata__: { a: 1 } }, 0, "__metadata__ 'a' is not a string"],
    ['an unknown type', { a: f32('Q4', [1], 0, 1) }, 1, "tensor 'a': element type Q4 is not known"],
    ['no type', { a: { shape: [1], data_offsets: [0, 1] } }, 1, "tensor 'a': has no dtype"],
    ['a negative size', { a: f32('I8', [-1], 0, 1) }, 1, "tensor 'a': its shape is not a list of sizes"],
    ['a fractional size', { a: f32('I8', [0.5], 0, 1) }, 1, "tensor 'a': its shape is not a list of sizes"],
    ['one offset', { a: f32('I8', [1], 0) }, 1, "tensor 'a': its data_offsets are not two positions"],
    ['an overflow', { a: f32('F64', [2 ** 30, 2 ** 30], 0, 1) }, 1, 'or too large'],
    ['half a byte', { a: f32('F4', [3], 0, 2) }, 2, 'not a whole number of bytes'],
    ['too few bytes', { a: f32('F32', [2], 0, 4) }, 4, '[2] of F32 takes 8 bytes, its data_offsets span 4'],
    ['offsets backwards', { a: f32('F32', [1], 4, 0) }, 4, 'its data_offsets span -4'],
    [
      'a gap',
      { a: f32('I8', [1], 0, 1), b: f32('I8', [1], 2, 3) },
      3,
      "tensor 'b': begins at byte 2 of the data, not at 1",
    ],
    [
      'an overlap',
      { a: f32('I8', [2], 0, 2), b: f32('I8', [2], 1, 3) },
      3,
      "tensor 'b': begins at byte 1 of the data, not at 2",
    ],
    ['a cut-off file', { a: f32('I8', [9], 0, 9) }, 3, "tensor 'a': ends at byte 9 of the data, which has 3"],
    [
      'bytes at the end',
      { a: f32('I8', [1], 0, 1) },
      3,
      'its tensors end at byte 1 of the data, which has 3',
    ],
  ])('refuses %s', (_, header, dataBytes, message) => {
    const path = file('bad.safetensors', header, dataBytes);
    const error = failure(() => openSafetensors(path));
    expect(error.message).toContain(message);
    expect(error.message).toContain(path);
    expect(error.exitCode).toBe(2);
  });

  test('refuses headers that do not fit, other files and missing files', () => {
    expect(failure(() => openSafetensors(file('a', '{}', 0, 100_000_001))).message).toContain(
      'header of 100000001 bytes',
    );
    expect(failure(() => openSafetensors(file('b', '{}', 0, 50))).code).toBe('truncated');
    writeFileSync(join(folder, 'c'), 'PK');
    expect(failure(() => openSafetensors(join(folder, 'c'))).message).toContain('it has 2 bytes');
    expect(failure(() => openSafetensors(join(folder, 'd'))).code).toBe('file-not-found');
    writeFileSync(join(folder, 'e'), Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff]));
    expect(failure(() => openSafetensors(join(folder, 'e'))).message).toContain('not valid JSON');
  });
});

describe('sharded checkpoints and folders', () => {
  const shards = () => {
    file('model-1.safetensors', { a: f32('I8', [1], 0, 1) }, 1);
    file('model-2.safetensors', { b: f32('I8', [2], 0, 2) }, 2);
  };
  const index = (content: unknown) => {
    const path = join(folder, 'model.safetensors.index.json');
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
    return path;
  };
  const good = {
    metadata: { total_size: 3, format: 'pt' },
    weight_map: { a: 'model-1.safetensors', b: 'model-2.safetensors' },
  };

  test('an index gives the tensors of its shards', () => {
    shards();
    const opened = openSafetensors(index(good));
    expect(opened.names).toEqual(['a', 'b']);
    expect(opened.get('b')).toMatchObject({ shape: [2], file: join(folder, 'model-2.safetensors') });
    expect(opened.metadata).toEqual({ format: 'pt' });
  });

  test('a folder: model.safetensors, else its index, else all files', () => {
    shards();
    expect(openSafetensors(folder).names).toEqual(['a', 'b']);
    index({ weight_map: { b: 'model-2.safetensors' } });
    expect(openSafetensors(folder).names).toEqual(['b']);
    file('model.safetensors', { c: f32('I8', [1], 0, 1) }, 1);
    expect(openSafetensors(folder).names).toEqual(['c']);
  });

  test('refuses a folder without tensors, or with one tensor twice', () => {
    expect(failure(() => openSafetensors(folder)).code).toBe('no-checkpoint');
    shards();
    file('x.safetensors', { a: f32('I8', [1], 0, 1) }, 1);
    expect(failure(() => openSafetensors(folder)).message).toContain(
      "tensor 'a': is also in model-1.safetensors",
    );
  });

  test.each<[what: string, content: unknown, message: string]>([
    ['text', 'hello', 'not valid JSON'],
    ['null', null, 'it has no weight_map'],
    ['no map', { weight_map: ['a'] }, 'it has no weight_map'],
    ['a number for a file', { weight_map: { a: 1 } }, "the file of 'a' is not a name"],
    [
      'a shard elsewhere',
      { weight_map: { a: '../a.safetensors' } },
      "shard '../a.safetensors' is not the name",
    ],
    ['a duplicate', '{"weight_map":{"a":"model-1.safetensors","a":"model-2.safetensors"}}', "two keys 'a'"],
    [
      'a tensor elsewhere',
      { weight_map: { b: 'model-1.safetensors' } },
      "tensor 'b': is not in model-1.safetensors",
    ],
    ['a missing shard', { weight_map: { a: 'model-3.safetensors' } }, 'model-3.safetensors: no such file'],
  ])('refuses an index with %s', (_, content, message) => {
    shards();
    expect(failure(() => openSafetensors(index(content))).message).toContain(message);
  });
});

describe('writing', () => {
  const tensors = (): [string, TensorToWrite][] => [
    ['z', tensor(DataType.FLOAT, [2], new Uint8Array(Float32Array.of(1, -2).buffer))],
    ['10', tensor(DataType.UINT8, [3], Uint8Array.of(1, 2, 3))],
    ['9', tensor(DataType.BFLOAT16, [1, 1], Uint8Array.of(0x80, 0x3f))],
    ['a', tensor(DataType.FLOAT, [], new Uint8Array(Float32Array.of(3).buffer))],
    ['int', tensor(DataType.INT64, [1], new Uint8Array(BigInt64Array.of(-1n).buffer))],
    ['none', tensor(DataType.FLOAT, [0], new Uint8Array(0))],
  ];

  test('what is written reads back, aligned, in an order that does not depend on the caller', () => {
    const one = join(folder, '1.safetensors');
    const two = join(folder, '2.safetensors');
    writeSafetensors(one, new Map(tensors()), { metadata: { b: 'x', a: 'é' } });
    writeSafetensors(two, new Map(tensors().reverse()), { metadata: { a: 'é', b: 'x' } });
    expect(readFileSync(one)).toEqual(readFileSync(two));
    const opened = openSafetensors(one);
    expect(opened.names).toEqual(['int', 'a', 'none', 'z', '9', '10']);
    expect(opened.metadata).toEqual({ a: 'é', b: 'x' });
    for (const [name, { dtype, shape, data }] of tensors()) {
      expect(opened.get(name)).toMatchObject({ dtype, shape });
      expect(opened.get(name)?.data.read()).toEqual(data.read());
    }
    expect(Number(readFileSync(one).readBigUInt64LE(0)) % 8).toBe(0);
  });

  test('pieces are streamed; numbers survive', () => {
    const path = join(folder, 'a.safetensors');
    const data = computedBytes(8, () => [Uint8Array.of(0, 0, 128, 63), Uint8Array.of(0, 0, 0, 64)]);
    writeSafetensors(path, new Map([['x', { dtype: DataType.FLOAT, shape: [2], data }]]));
    const read = openSafetensors(path).get('x')?.data.read() ?? new Uint8Array();
    expect(decodeFloats(DataType.FLOAT, read)).toEqual(Float32Array.of(1, 2));
  });

  test('an existing file is kept without force and replaced with it', () => {
    const path = file('a.safetensors', '{}', 0);
    const before = readFileSync(path);
    expect(failure(() => writeSafetensors(path, new Map(tensors()))).code).toBe('exists');
    expect(readFileSync(path)).toEqual(before);
    writeSafetensors(path, new Map(tensors()), { force: true });
    expect(openSafetensors(path).names).toHaveLength(6);
  });

  test('a failure leaves nothing behind', () => {
    const path = join(folder, 'a.safetensors');
    const data = computedBytes(4, () => {
      throw new Error('disk on fire');
    });
    const broken = new Map([['x', { dtype: DataType.FLOAT, shape: [1], data }]]);
    expect(() => writeSafetensors(path, broken)).toThrow('disk on fire');
    const short = new Map([['x', { dtype: DataType.FLOAT, shape: [1], data: computedBytes(4, () => []) }]]);
    expect(() => writeSafetensors(path, short)).toThrow(/announced/);
    expect(readdirSync(folder)).toEqual([]);
    expect(failure(() => writeSafetensors(join(folder, 'no', 'a'), new Map())).code).toBe('unwritable');
  });

  test('tensors that the format cannot hold are refused before anything is written', () => {
    const path = join(folder, 'a.safetensors');
    const write = (name: string, value: TensorToWrite) => () =>
      writeSafetensors(path, new Map([[name, value]]));
    expect(write('x', tensor(DataType.FLOAT, [2], new Uint8Array(4)))).toThrow('4 bytes for [2] of float');
    expect(write('x', tensor(DataType.INT4, [2], new Uint8Array(1)))).toThrow('no element type int4');
    expect(write('__metadata__', tensor(DataType.INT8, [1], new Uint8Array(1)))).toThrow('not a name');
    expect(existsSync(path)).toBe(false);
  });
});

test('duplicateKey looks at the keys of each object on its own', () => {
  expect(duplicateKey('{"a":{"b":["a","a",{"b":1}]},"b":"a","c":"\\"a\\":"}')).toBeUndefined();
  expect(duplicateKey('{"a":[{"x":1,"y":{},"x":2}]}')).toBe('x');
});

test('reads what the Python implementation wrote', () => {
  const { io } = openExport('llama-past-ts17-sdpa');
  const opened = openSafetensors(io);
  expect(opened.names).toHaveLength(12);
  expect(opened.get('input.input_ids')).toMatchObject({ dtype: DataType.INT64, shape: [2, 7] });
  const total = opened.names.reduce((sum, name) => sum + (opened.get(name)?.data.length ?? 0), 0);
  expect(total).toBe(14496);
});
