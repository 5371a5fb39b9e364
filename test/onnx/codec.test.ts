import { onnx } from 'onnx-proto';
import { Writer } from 'protobufjs';
import {
  AttributeType,
  type ByteRange,
  DataType,
  decode,
  derive,
  encode,
  type MessageName,
  type Messages,
} from '../../src/onnx';
import fc from '../support/properties';
import { forget, message, plain } from './arbitrary';
import { field, floats, graph, model, node, varint } from './build';

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
