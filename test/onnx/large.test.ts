import * as fs from 'node:fs';
import {
  computedBytes,
  DataType,
  derive,
  encode,
  readModel,
  type TensorProto,
  writeModel,
} from '../../src/onnx';
import { floats, model, temporaryFolder, tensor } from './build';

/** Bytes of the payload: more than 32 bits can count; the file has a hole there, so that it takes no room. */
const HUGE = 5_000_000_000;
const folder = temporaryFolder();
const path = folder.in('huge.onnx');
afterAll(folder.clear);

beforeAll(() => {
  const descriptor = fs.openSync(path, 'w');
  let at = 0;
  const hole = computedBytes(HUGE, () => {
    at += HUGE;
    return [];
  });
  const huge = tensor({ name: 'huge', dims: [BigInt(HUGE)], dataType: DataType.UINT8, rawData: hole });
  for (const piece of encode(
    'ModelProto',
    model([floats('before', 2000), huge, floats('after', 2000)]),
  ).chunks()) {
    at += fs.writeSync(descriptor, piece, 0, piece.length, at);
  }
  fs.closeSync(descriptor);
});

test('a file of 5 GB is read without its weights', () => {
  const before = process.memoryUsage();
  const file = readModel(path);
  const after = process.memoryUsage();
  expect(after.rss + after.arrayBuffers - before.rss - before.arrayBuffers).toBeLessThan(50e6);
  expect(file.size).toBeGreaterThan(HUGE);
  const [first, huge, last] = file.proto.graph?.initializer ?? [];
  const bytes = (weight: TensorProto | undefined) => file.tensorBytes(weight ?? tensor());
  expect(bytes(huge).length).toBe(HUGE);
  for (const piece of bytes(huge).chunks()) {
    expect(piece.length).toBeLessThanOrEqual(8 << 20);
    break;
  }
  expect(bytes(first).read()).toEqual(floats('', 2000).rawData?.read());
  expect(bytes(last).read()).toEqual(floats('', 2000).rawData?.read());
  expect(file.proto.opsetImport[0]?.version).toBe(21n);
});

test('what lies behind 2 GiB is written from there', () => {
  const file = readModel(path);
  const { graph } = file.proto;
  if (graph === undefined) throw new Error('no graph');
  const initializer = graph.initializer.filter(({ name }) => name !== 'huge');
  const target = folder.in('small.onnx');
  writeModel(derive(file.proto, { graph: derive(graph, { initializer }) }), target);
  const small = readModel(target);
  const [, last] = small.proto.graph?.initializer ?? [];
  expect(last && small.tensorBytes(last).read()).toEqual(floats('', 2000).rawData?.read());
});
