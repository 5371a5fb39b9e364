import {
  type ByteRange,
  computedBytes,
  decode,
  derive,
  encode,
  type GraphProto,
  mapTensors,
  memoryBytes,
  tensorsOf,
} from '../../src/onnx';
import { field, floats, graph, model, node, tensor, varint } from './build';

const bytesOf = (range: ByteRange) => Buffer.from(range.read());

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
    const parsed = decode('TensorProto', Buffer.concat([long, varint(7, 9), long]));
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
    const payload = computedBytes(5e9, () => {
      asked += 1;
      return [];
    });
    const body: GraphProto = graph({ initializer: [tensor({ rawData: payload })] });
    expect(encode('GraphProto', body).length).toBe(5e9 + 12);
    expect(asked).toBe(0);
    expect(() => payload.read()).toThrow();
    expect(memoryBytes(Uint8Array.of(1)).read()).toEqual(Uint8Array.of(1));
  });
});
