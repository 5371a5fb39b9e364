import { spawnSync } from 'node:child_process';
import fs, { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onnx } from 'onnx-proto';
import { DiffxError } from '../../src/errors';
import { DataType } from '../../src/onnx/data-types';
import { parseProfile } from '../../src/verify/profile';
import { parseProvider } from '../../src/verify/providers';
import { createSession, withSession } from '../../src/verify/session';
import type { Tensor } from '../../src/verify/tensor';
import { addModel, oneNode } from './models';

const float = (shape: number[], ...values: number[]): Tensor => ({
  dtype: DataType.FLOAT,
  shape,
  data: Float32Array.from(values),
});

async function failure(action: Promise<unknown>): Promise<DiffxError> {
  const error = await action.then(
    () => new Error('nothing was thrown'),
    (reason: unknown) => reason,
  );
  if (error instanceof DiffxError) return error;
  throw error;
}

test('runs a model from bytes, describes it, and gives outputs by name', async () => {
  const session = await createSession(addModel());
  expect(session.inputs).toEqual([
    { name: 'a', dtype: DataType.FLOAT, shape: ['n', 2] },
    { name: 'b', dtype: DataType.FLOAT, shape: ['n', 2] },
  ]);
  expect(session.outputs).toEqual([{ name: 'c', dtype: DataType.FLOAT, shape: ['n', 2] }]);
  const feeds = { a: float([2, 2], 1, 2, 3, 4), b: float([2, 2], 10, 20, 30, 40) };
  expect(await session.run(feeds)).toEqual({ c: float([2, 2], 11, 22, 33, 44) });
  expect(await session.run(feeds, ['c'])).toHaveProperty('c');
  await session.release();
  await session.release();
});

test('runs a model from a file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'diffx-session-'));
  const path = join(folder, 'add.onnx');
  writeFileSync(path, addModel());
  const feeds = { a: float([0, 2]), b: float([0, 2]) };
  expect(await withSession(path, { optimization: 'disabled' }, (session) => session.run(feeds))).toEqual({
    c: float([0, 2]),
  });
  rmSync(folder, { recursive: true });
});

test.each<Tensor>([
  { dtype: DataType.FLOAT16, shape: [1, 2], data: Uint16Array.of(0x3c00, 0xc000) },
  { dtype: DataType.DOUBLE, shape: [1, 2], data: Float64Array.of(1.5, -2) },
  { dtype: DataType.INT64, shape: [1, 2], data: BigInt64Array.of(1n, -(2n ** 62n)) },
  { dtype: DataType.UINT64, shape: [1, 2], data: BigUint64Array.of(1n, 2n ** 63n) },
  { dtype: DataType.INT32, shape: [1, 2], data: Int32Array.of(1, -2) },
  { dtype: DataType.UINT32, shape: [1, 2], data: Uint32Array.of(1, 4_000_000_000) },
  { dtype: DataType.INT16, shape: [1, 2], data: Int16Array.of(1, -2) },
  { dtype: DataType.UINT16, shape: [1, 2], data: Uint16Array.of(1, 65535) },
  { dtype: DataType.INT8, shape: [1, 2], data: Int8Array.of(1, -2) },
  { dtype: DataType.UINT8, shape: [1, 2], data: Uint8Array.of(1, 255) },
  { dtype: DataType.BOOL, shape: [1, 2], data: Uint8Array.of(1, 0) },
])('element type $dtype passes through unchanged', async (tensor) => {
  const { dtype } = tensor;
  const model = oneNode(
    'Identity',
    [{ name: 'x', dtype, shape: [1, 2] }],
    [{ name: 'y', dtype, shape: [1, 2] }],
  );
  expect(await withSession(model, {}, (session) => session.run({ x: tensor }))).toEqual({ y: tensor });
});

test('missing, additional and mistyped feeds are errors, not silence', async () => {
  const session = await createSession(addModel(), { name: 'add.onnx' });
  const a = float([1, 2], 1, 2);
  const missing = await failure(session.run({ a }));
  expect(missing.message).toBe("add.onnx: input 'b' has no tensor");
  expect(missing.exitCode).toBe(2);
  expect((await failure(session.run({ a, b: a, z: a }))).message).toBe("add.onnx: it has no input 'z'");
  const wrong = { dtype: DataType.DOUBLE, shape: [1, 2], data: new Float64Array(2) };
  expect((await failure(session.run({ a, b: wrong }))).message).toBe(
    "add.onnx: input 'b' is float, the tensor is double",
  );
  await session.release();
});

test('what ONNX Runtime refuses is one line with its reason and the exit code of the caller', async () => {
  const garbage = await failure(createSession(Uint8Array.of(1, 2, 3), { name: 'x.onnx' }));
  expect(garbage.message).toBe(
    'x.onnx: ONNX Runtime refuses it: Failed to load model because protobuf parsing failed.',
  );
  expect([garbage.code, garbage.exitCode]).toEqual(['runtime-refused', 1]);
  const missing = await failure(createSession('/nowhere/x.onnx', { refusedExitCode: 2 }));
  expect(missing.exitCode).toBe(2);
  expect(missing.message).toBe(
    "/nowhere/x.onnx: ONNX Runtime refuses it: Load model /nowhere/x.onnx failed. File doesn't exist",
  );
  const session = await createSession(addModel(), { name: 'x.onnx' });
  const run = session.run({ a: float([1, 3], 1, 2, 3), b: float([1, 3], 1, 2, 3) });
  expect((await failure(run)).message).toMatch(/^x\.onnx: ONNX Runtime refuses it: .*dimensions/);
  await session.release();
});

test('a provider that is not there is exit 4, a bad model is not', async () => {
  // On no platform does onnxruntime-node have both.
  const elsewhere = parseProvider(process.platform === 'darwin' ? 'dml' : 'coreml');
  const absent = await failure(createSession(addModel(), { provider: elsewhere }));
  expect([absent.code, absent.exitCode]).toEqual(['provider-unavailable', 4]);
  expect(absent.message).toMatch(new RegExp(`'${elsewhere.text}' is not available: .* built without it$`));
});

test('memory that is used up is no fault of the model: exit 4', async () => {
  const model = oneNode(
    'ConstantOfShape',
    [{ name: 's', dtype: DataType.INT64, shape: [1] }],
    [{ name: 'y', dtype: DataType.FLOAT, shape: ['n'] }],
  );
  const session = await createSession(model, { name: 'x.onnx' });
  const feeds = { s: { dtype: DataType.INT64, shape: [1], data: BigInt64Array.of(2n ** 50n) } };
  const error = await failure(session.run(feeds));
  expect([error.code, error.exitCode]).toEqual(['provider-gave-up', 4]);
  expect(error.message).toBe("x.onnx: the execution provider 'cpu' gave up: its memory is used up");
  await session.release();
});

test('the profile says which provider ran which node, and leaves no file behind', async () => {
  const made = jest.spyOn(fs, 'mkdtempSync');
  const session = await createSession(addModel(), { profile: true });
  await session.run({ a: float([1, 2], 1, 2), b: float([1, 2], 1, 2) });
  const runs = await session.endProfiling();
  expect(runs).toEqual([
    {
      name: 'the_Add',
      opType: 'Add',
      provider: 'CPUExecutionProvider',
      microseconds: expect.any(Number),
      inputTypes: ['float', 'float'],
      outputTypes: ['float'],
    },
  ]);
  await session.release();
  const unread = await createSession(addModel(), { profile: true });
  await unread.release();
  await failure(createSession(Uint8Array.of(1), { profile: true }));
  const folders = made.mock.results.map(({ value }) => String(value));
  expect(folders).toHaveLength(3);
  expect(folders.filter((folder) => existsSync(folder))).toEqual([]);
  made.mockRestore();
  expect(parseProfile('{}')).toEqual([]);
  const plain = await createSession(addModel());
  await expect(plain.endProfiling()).rejects.toThrow('without `profile`');
  await plain.release();
});

test('ONNX Runtime writes nothing to standard error, not even for a model it warns about', () => {
  // An initializer that no node uses is what it warns about.
  const model = onnx.ModelProto.decode(addModel());
  const unused = { name: 'unused', dataType: DataType.FLOAT, dims: [1], floatData: [1] };
  model.graph?.initializer?.push(onnx.TensorProto.create(unused));
  const bytes = Buffer.from(onnx.ModelProto.encode(model).finish()).toString('base64');
  // In a process of its own, since what native code writes cannot be caught within this one.
  const script = `
    const { createSession } = require('./dist/src/verify/session.js');
    const { InferenceSession } = require('onnxruntime-node');
    const model = Buffer.from(process.argv[1], 'base64');
    process.argv[2] === 'ours' ? createSession(model) : InferenceSession.create(model);`;
  const run = (whose: string) =>
    spawnSync(process.execPath, ['-e', script, bytes, whose], {
      cwd: join(__dirname, '../..'),
      encoding: 'utf8',
    });
  expect(run('plain').stderr).toContain('unused');
  expect(run('ours')).toMatchObject({ status: 0, stderr: '' });
});
