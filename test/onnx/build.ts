/** Small models for the tests of the codec, and messages put together by hand, byte by byte. */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Writer } from 'protobufjs';
import { DiffxError } from '../../src/errors';
import {
  DataType,
  type GraphProto,
  type ModelProto,
  memoryBytes,
  type NodeProto,
  type TensorProto,
} from '../../src/onnx';

export function tensor(fields: Partial<TensorProto> = {}): TensorProto {
  return {
    dims: [],
    floatData: [],
    int32Data: [],
    stringData: [],
    int64Data: [],
    externalData: [],
    doubleData: [],
    uint64Data: [],
    metadataProps: [],
    ...fields,
  };
}

/** A float tensor of one dimension with raw data 0, 1, 2... */
export function floats(name: string, count: number): TensorProto {
  const values = Float32Array.from({ length: count }, (_, index) => index);
  return tensor({
    name,
    dims: [BigInt(count)],
    dataType: DataType.FLOAT,
    rawData: memoryBytes(new Uint8Array(values.buffer)),
  });
}

export function node(fields: Partial<NodeProto> = {}): NodeProto {
  return { input: [], output: [], attribute: [], metadataProps: [], ...fields };
}

export function graph(fields: Partial<GraphProto> = {}): GraphProto {
  return {
    node: [],
    initializer: [],
    sparseInitializer: [],
    input: [],
    output: [],
    valueInfo: [],
    quantizationAnnotation: [],
    metadataProps: [],
    ...fields,
  };
}

/** y = x + w for each tensor w; loads in ONNX Runtime. */
export function model(initializer: readonly TensorProto[], fields: Partial<ModelProto> = {}): ModelProto {
  const width = initializer[0]?.dims[0] ?? 1n;
  const vector = (name: string) => ({
    name,
    type: { tensorType: { elemType: DataType.FLOAT, shape: { dim: [{ dimValue: width }] } } },
    metadataProps: [],
  });
  const nodes = initializer.map((weight, index) =>
    node({
      opType: 'Add',
      name: `add${index}`,
      input: [`x${index}`, weight.name ?? ''],
      output: [`x${index + 1}`],
    }),
  );
  const body = { name: 'g', initializer, node: nodes, input: [vector('x0')] };
  return {
    irVersion: 10n,
    opsetImport: [{ domain: '', version: 21n }],
    metadataProps: [],
    trainingInfo: [],
    functions: [],
    configuration: [],
    graph: graph({ ...body, output: [vector(`x${initializer.length}`)] }),
    ...fields,
  };
}

/** The bytes of a field that holds bytes, a string or a message. */
export function field(id: number, ...content: (string | Uint8Array)[]): Uint8Array {
  const bytes = Buffer.concat(content.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
  return Writer.create()
    .uint32(id * 8 + 2)
    .bytes(bytes)
    .finish();
}

/** The bytes of a field that holds a varint. */
export function varint(id: number, value: number): Uint8Array {
  return Writer.create()
    .uint32(id * 8)
    .int64(value)
    .finish();
}

/** A temporary folder for the tests of a file. */
export function temporaryFolder(): { readonly path: string; in(name: string): string; clear(): void } {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'diffx-onnx-'));
  return {
    path: folder,
    in: (name) => path.join(folder, name),
    clear: () => fs.rmSync(folder, { recursive: true }),
  };
}

/** The user's error that a function throws, as `code: message`; anything else it throws is thrown on. */
export function failure(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof DiffxError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'no error';
}
