import * as fc from 'fast-check';
import { onnx } from 'onnx-proto';
import { Writer } from 'protobufjs';
import {
  AttributeType,
  type ByteRange,
  computedBytes,
  DataType,
  decode,
  derive,
  encode,
  type GraphProto,
  type MessageName,
  type Messages,
  mapTensors,
  memoryBytes,
  tensorsOf,
} from '../../src/onnx';
import { forget, message, plain } from './arbitrary';
import { field, floats, graph, model, node, tensor, varint } from './build';

const bytesOf = (range: ByteRange) => Buffer.from(range.read());
/** Decodes, so that the message has original bytes. */
const read = <N extends MessageName>(type: N, ...parts: Uint8Array[]): Messages[N] =>
  decode(type, Buffer.concat(parts));

describe('numbers of the schema', () => {
  test('DataType and AttributeType agree with onnx-proto, which knows fewer', () => {
    for (const [theirs, ours] of [
      [onnx.TensorProto.DataType, DataType],
      [onnx.AttributeProto.AttributeType, AttributeType],
    ] as const) {
      const named = Object.entries(theirs).filter(([, value]) => typeof value === 'number');
      expect(named.length).toBeGreaterThan(14);
      expect(ours).toMatchObject(Object.fromEntries(named));
    }
  });

  test('onnx-proto, an independent decoder, reads what the codec writes', () => {
    const body = graph({
      name: 'body',
      initializer: [floats('w', 3)],
      node: [node({ opType: 'If', name: 'n', input: ['c'], output: ['y'] })],
    });
    const attribute = { floats: [1.5, -2], ints: [-1n, 2n ** 62n], strings: [Buffer.from('s')], g: body };
    const rest = { tensors: [], graphs: [], sparseTensors: [], typeProtos: [] };
    const whole = model([floats('w', 2)], {
      producerName: 'diffx',
      functions: [],
      graph: graph({ node: [node({ opType: 'X', attribute: [{ name: 'a', ...attribute, ...rest }] })] }),
    });
    const theirs = onnx.ModelProto.decode(bytesOf(encode('ModelProto', whole)));
    const seen = onnx.ModelProto.toObject(theirs, { longs: String, bytes: Array });
    expect(seen).toMatchObject({
      irVersion: '10',
      producerName: 'diffx',
      opsetImport: [{ version: '21' }],
      graph: {
        node: [
          {
            opType: 'X',
            attribute: [
              {
                floats: [1.5, -2],
                ints: ['-1', String(2n ** 62n)],
                strings: [[115]],
                g: {
                  initializer: [{ dims: ['3'], rawData: [...bytesOf(floats('w', 3).rawData as ByteRange)] }],
                },
              },
            ],
          },
        ],
      },
    });
  });
});

describe('messages that are read', () => {
  const types: MessageName[] = ['ModelProto', 'GraphProto', 'NodeProto', 'TensorProto', 'TypeProto'];

  test.each(types)('%s: encode and decode are inverse for whatever a message holds', (type) => {
    fc.assert(
      fc.property(message(type), (original) => {
        const bytes = bytesOf(encode(type, original));
        const back = decode(type, bytes);
        expect(plain(back)).toEqual(plain(original));
        // Without memory of its bytes it is written the same again: the encoding is canonical.
        expect(bytesOf(encode(type, forget(back))).equals(bytes)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test('a changed field changes that field and nothing else', () => {
    fc.assert(
      fc.property(
        message('NodeProto'),
        message('NodeProto'),
        fc.constantFrom('name', 'input', 'attribute', 'overload'),
        (one, other, key) => {
          const changed = derive(decode('NodeProto', bytesOf(encode('NodeProto', one))), {
            [key]: other[key as 'name'],
          });
          const back = decode('NodeProto', bytesOf(encode('NodeProto', changed)));
          const wanted: Record<string, unknown> = { ...one, [key]: other[key as 'name'] };
          if (wanted[key] === undefined) delete wanted[key];
          expect(plain(back)).toEqual(plain(wanted));
        },
      ),
      { numRuns: 60 },
    );
  });

  test('a message that is not replaced keeps bytes that no encoder here would write', () => {
    const longTag = Uint8Array.of(0x9a, 0x00, 1, 0x61); // name = 'a' with a tag of two bytes
    const longSize = Uint8Array.of(0x22, 0x81, 0x80, 0x00, 0x62); // op_type = 'b' with a size of three
    const odd = Buffer.concat([longSize, longTag, field(1, 'x'), field(4, 'c')]);
    const parsed = read('NodeProto', odd);
    expect(parsed).toMatchObject({ name: 'a', opType: 'c', input: ['x'] });
    expect(bytesOf(encode('NodeProto', parsed)).equals(odd)).toBe(true);
    const inside = derive(read('GraphProto', field(2, 'g'), field(1, odd)), { name: 'h' });
    expect(bytesOf(encode('GraphProto', inside)).equals(Buffer.concat([field(1, odd), field(2, 'h')]))).toBe(
      true,
    );
    const canonical = Buffer.concat([field(1, 'x'), field(3, 'a'), field(4, 'd')]);
    expect(bytesOf(encode('NodeProto', derive(parsed, { opType: 'd' }))).equals(canonical)).toBe(true);
  });

  test('deriving without a change gives the message itself', () => {
    const parsed = read('NodeProto', field(4, 'b'), field(3, 'a'));
    expect(derive(parsed, { name: 'a', docString: undefined })).toBe(parsed);
  });

  test('undefined removes a field and empties a repeated one', () => {
    const parsed = read('NodeProto', field(1, 'x'), field(3, 'a'), field(4, 'b'));
    const less = derive(parsed, { name: undefined, input: undefined });
    expect(less).toEqual(node({ opType: 'b' }));
    expect(bytesOf(encode('NodeProto', less)).equals(field(4, 'b'))).toBe(true);
  });

  test('packed and unpacked elements are both read, also mixed', () => {
    const mixed = read('AttributeProto', varint(8, 1), field(8, Uint8Array.of(2, 3)), varint(8, -4));
    expect(mixed.ints).toEqual([1n, 2n, 3n, -4n]);
    const unpacked = Writer.create()
      .uint32(4 * 8 + 5)
      .float(0.5)
      .uint32(4 * 8 + 5)
      .float(-1)
      .finish();
    expect(read('TensorProto', unpacked).floatData).toEqual([0.5, -1]);
  });

  test('a field with another wire type than the schema says is unknown, and kept', () => {
    const parsed = read('NodeProto', varint(3, 7), field(4, 'b'));
    expect(parsed.name).toBeUndefined();
    const renamed = bytesOf(encode('NodeProto', derive(parsed, { opType: 'c' })));
    expect(renamed.equals(Buffer.concat([field(4, 'c'), varint(3, 7)]))).toBe(true);
  });

  test('a message in two parts is merged, and the last member of a oneof counts', () => {
    const parts = [
      field(7, field(2, 'g'), field(1, field(3, 'n'))),
      field(7, field(2, 'h'), field(999, '?')),
    ];
    const merged = read('ModelProto', ...parts);
    expect(merged.graph).toMatchObject({ name: 'h', node: [{ name: 'n' }] });
    const whole = bytesOf(encode('ModelProto', derive(merged, { domain: 'd' })));
    expect(decode('ModelProto', whole).graph).toMatchObject({ name: 'h', node: [{ name: 'n' }] });
    expect(whole.includes(Buffer.from(field(999, '?')))).toBe(true);
    const dim = field(2, field(1, field(2, 'N'), varint(1, 4)));
    const type = read('TypeProto', field(4, ''), field(1, varint(1, 1), dim));
    expect(type).toEqual({ tensorType: { elemType: 1, shape: { dim: [{ dimValue: 4n }] } } });
  });

  test('two members of a oneof are a mistake that encode refuses', () => {
    expect(() => encode('TypeProto', { tensorType: {}, sequenceType: {} })).toThrow('TypeProto has both');
  });

  test('strings that are not UTF-8 are kept byte by byte, and stay different', () => {
    const latin = [Uint8Array.of(0x61, 0xe9), Uint8Array.of(0x61, 0xe8), Buffer.from('\uFFFDé')];
    const parsed = read('NodeProto', ...latin.map((name) => field(1, name)));
    expect(new Set(parsed.input).size).toBe(3);
    expect(parsed.input[2]).toBe('\uFFFDé');
    const again = encode('NodeProto', derive(parsed, { input: parsed.input.map((name) => `${name}→`) }));
    const wanted = latin.map((name) => field(1, name, '→'));
    expect(bytesOf(again).equals(Buffer.concat(wanted))).toBe(true);
  });
});

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

describe('tensors', () => {
  test('long packed fields are decoded only when somebody looks, and written as they were', () => {
    const values = Array.from({ length: 5000 }, (_, index) => index - 7);
    const parsed = decode(
      'TensorProto',
      bytesOf(encode('TensorProto', tensor({ int32Data: values, name: 'a' }))),
    );
    const renamed = derive(parsed, { name: 'b' });
    expect(typeof Object.getOwnPropertyDescriptor(renamed, 'int32Data')?.get).toBe('function');
    const wanted = tensor({ int32Data: values, name: 'b' });
    expect(bytesOf(encode('TensorProto', renamed)).equals(bytesOf(encode('TensorProto', wanted)))).toBe(true);
    expect(renamed).toEqual(wanted);
    expect(derive(renamed, { int32Data: undefined })).toEqual(tensor({ name: 'b' }));
    expect(derive(renamed, { int32Data: [1] })).toEqual(tensor({ name: 'b', int32Data: [1] }));
  });

  test('a long packed field that goes on afterwards is one array', () => {
    const long = field(7, new Uint8Array(5000).fill(1));
    const parsed = read('TensorProto', long, varint(7, 9), long);
    expect(parsed.int64Data.length).toBe(10001);
    expect(parsed.int64Data[5000]).toBe(9n);
  });

  test('are found wherever they lie, and replaced without touching the rest', () => {
    const inner = graph({ initializer: [floats('inner', 1)] });
    const lists = {
      floats: [],
      ints: [],
      strings: [],
      tensors: [],
      graphs: [],
      sparseTensors: [],
      typeProtos: [],
    };
    const attribute = { ...lists, g: inner, tensors: [floats('list', 1)] };
    const sparse = { values: floats('values', 1), indices: floats('indices', 1), dims: [] };
    const body = graph({
      node: [node({ attribute: [attribute] }), node({ name: 'untouched' })],
      initializer: [floats('w', 1)],
      sparseInitializer: [sparse],
    });
    const whole = model([], { graph: body, trainingInfo: [{ algorithm: inner }] });
    const names = Array.from(tensorsOf('ModelProto', whole), (found) => found.name);
    expect(names).toEqual(['inner', 'list', 'w', 'values', 'indices', 'inner']);
    const places: string[] = [];
    const changed = mapTensors('ModelProto', whole, (found, place) => {
      places.push(place);
      return found.name === 'list' ? derive(found, { name: 'other' }) : found;
    });
    expect(places).toEqual(['initializer', 'other', 'initializer', 'other', 'other', 'initializer']);
    expect(changed.graph?.node[0]?.attribute[0]?.tensors[0]?.name).toBe('other');
    expect(changed.graph?.node[1]).toBe(whole.graph?.node[1]);
    expect(changed.graph?.initializer).toBe(whole.graph?.initializer);
  });

  test('payloads are referred to, not copied, when they are encoded', () => {
    let asked = 0;
    const payload = computedBytes(3e9, () => {
      asked += 1;
      return [];
    });
    const body: GraphProto = graph({ initializer: [tensor({ rawData: payload })] });
    expect(encode('GraphProto', body).length).toBe(3e9 + 12);
    expect(asked).toBe(0);
    expect(() => payload.read()).toThrow();
    expect(memoryBytes(Uint8Array.of(1)).read()).toEqual(Uint8Array.of(1));
  });
});
