import { DataType, decode, encode, parseModel, type TensorProto } from '../../src/onnx';
import { failure, floats, model, tensor } from './build';

const file = parseModel(encode('ModelProto', model([floats('w', 1)])).read());
const hex = (fields: Partial<TensorProto>) =>
  Buffer.from(file.tensorBytes(tensor({ name: 't', ...fields })).read()).toString('hex');

describe('bytes of tensors that are stored in typed fields', () => {
  test.each([
    ['FLOAT', { floatData: [1, -2] }, '0000803f000000c0'],
    ['COMPLEX64', { dims: [1n], floatData: [1, -2] }, '0000803f000000c0'],
    ['DOUBLE', { doubleData: [1, -2] }, '000000000000f03f00000000000000c0'],
    ['COMPLEX128', { dims: [1n], doubleData: [1, -2] }, '000000000000f03f00000000000000c0'],
    ['INT64', { int64Data: [1n, -2n] }, '0100000000000000feffffffffffffff'],
    ['UINT64', { uint64Data: [1n, 2n ** 64n - 1n] }, '0100000000000000ffffffffffffffff'],
    ['UINT32', { uint64Data: [1n, 2n ** 32n - 1n] }, '01000000ffffffff'],
    ['INT32', { int32Data: [1, -2] }, '01000000feffffff'],
    ['INT16', { int32Data: [1, -2] }, '0100feff'],
    ['UINT16', { int32Data: [1, 65535] }, '0100ffff'],
    ['INT8', { int32Data: [1, -2] }, '01fe'],
    ['UINT8', { int32Data: [1, 255] }, '01ff'],
    ['BOOL', { int32Data: [1, 0] }, '0100'],
    ['FLOAT16', { int32Data: [0x3c00, 0xc000] }, '003c00c0'],
    ['BFLOAT16', { int32Data: [0x3f80, 0xc000] }, '803f00c0'],
    ['FLOAT8E4M3FN', { int32Data: [0x38, 0xc0] }, '38c0'],
    ['UINT4', { dims: [3n], int32Data: [0x21, 0x03] }, '2103'],
    ['INT2', { dims: [5n], int32Data: [0xe4, 0x01] }, 'e401'],
  ] as const)('%s', (type, fields, wanted) => {
    expect(hex({ dims: [2n], dataType: DataType[type], ...fields })).toBe(wanted);
  });

  test('a scalar has one element, an empty tensor none', () => {
    expect(hex({ dataType: DataType.FLOAT, floatData: [1] })).toBe('0000803f');
    expect(hex({ dataType: DataType.FLOAT, dims: [0n, 4n] })).toBe('');
  });

  test.each([
    ['floatData', DataType.FLOAT, 4],
    ['doubleData', DataType.DOUBLE, 8],
    ['int32Data', DataType.INT8, 1],
    ['int64Data', DataType.INT64, 8],
  ] as const)('long %s gives the same bytes whether decoded or not', (name, dataType, width) => {
    const count = 300_000;
    const numbers = Array.from({ length: count }, (_, index) => (index % 251) - 100);
    const values = name === 'int64Data' ? numbers.map(BigInt) : numbers;
    const built = tensor({ name: 't', dataType, dims: [BigInt(count)], [name]: values });
    const lazy = decode('TensorProto', encode('TensorProto', built).read());
    const bytes = Buffer.from(file.tensorBytes(lazy).read());
    expect(bytes.length).toBe(count * width);
    expect(bytes.equals(file.tensorBytes(built).read())).toBe(true);
    const short = file.tensorBytes({ ...built, [name]: values.slice(1), dims: [BigInt(count - 1)] });
    expect(short.length).toBe((count - 1) * width);
    const wrong = decode('TensorProto', encode('TensorProto', { ...built, dims: [7n] }).read());
    expect(failure(() => file.tensorBytes(wrong).read())).toContain("tensor-invalid: tensor 't'");
  });
});

describe('tensors that contradict themselves are named', () => {
  test.each([
    ['too short', { dims: [3n], floatData: [1, 2] }, 'float[3] takes 12 bytes, 8 are there'],
    ['no payload', { dims: [2n, 3n] }, 'float[2, 3] takes 24 bytes, 0 are there'],
    ['a negative dimension', { dims: [-1n] }, 'has a dimension of -1'],
    ['more than can be', { dims: [2n ** 40n, 2n ** 40n] }, 'has 1208925819614629174706176 elements'],
    ['strings', { dataType: DataType.STRING, stringData: [Buffer.from('a')] }, 'string has no byte layout'],
    ['an unknown type', { dataType: 99 }, 'type 99 has no byte layout'],
    ['no type', { dataType: DataType.UNDEFINED }, 'undefined has no byte layout'],
  ])('%s', (_, fields, reason) => {
    expect(failure(() => hex({ dataType: DataType.FLOAT, ...fields }))).toBe(
      `tensor-invalid: tensor 't': ${reason}`,
    );
  });
});
