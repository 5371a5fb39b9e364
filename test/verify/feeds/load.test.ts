import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryBytes } from '../../../src/onnx/bytes';
import { DataType } from '../../../src/onnx/data-types';
import { compare } from '../../../src/verify/compare';
import { loadFeeds } from '../../../src/verify/feeds';
import { withSession } from '../../../src/verify/session';
import { writeSafetensors } from '../../../src/weights/safetensors-write';
import { openExport } from '../../support/fixtures';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'diffx-feeds-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A file of float tensors that count up from 0. */
function file(tensors: Record<string, number[]>): string {
  const path = join(folder, 'io.safetensors');
  const entries = Object.entries(tensors).map(([name, shape]) => {
    const count = shape.reduce((product, size) => product * size, 1);
    const bytes = new Uint8Array(Float32Array.from({ length: count }, (_, i) => i).buffer);
    return [name, { dtype: DataType.FLOAT, shape, data: memoryBytes(bytes) }] as const;
  });
  writeSafetensors(path, new Map(entries), { force: true });
  return path;
}
const float = (name: string, ...shape: (number | string)[]) => ({ name, dtype: DataType.FLOAT, shape });

test('input.<name> comes before <name>; outputs are expected; the rest is listed', () => {
  const path = file({ 'input.x': [2], x: [3], y: [1, 2], 'output.z': [1], 'input.gone': [1] });
  const loaded = loadFeeds(path, [float('x', 'n'), float('y', 'b', 2)]);
  expect(loaded.feeds).toEqual({
    x: { dtype: DataType.FLOAT, shape: [2], data: Float32Array.of(0, 1) },
    y: { dtype: DataType.FLOAT, shape: [1, 2], data: Float32Array.of(0, 1) },
  });
  expect(loaded.expected).toEqual({ z: { dtype: DataType.FLOAT, shape: [1], data: Float32Array.of(0) } });
  expect([...loaded.unused].sort()).toEqual(['input.gone', 'x']);
});

test('a scalar that was stored as [1] is a scalar again', () => {
  expect(loadFeeds(file({ x: [1] }), [float('x')]).feeds['x']?.shape).toEqual([]);
});

test('missing tensors, other types and other shapes are errors that name both sides', () => {
  const path = file({ 'input.x': [2, 3] });
  expect(() => loadFeeds(path, [float('y', 'n')])).toThrow(`${path}: has no tensor 'input.y' for that input`);
  expect(() => loadFeeds(path, [{ ...float('x', 'n', 3), dtype: DataType.INT64 }])).toThrow(
    "'input.x' is float, the input is int64",
  );
  expect(() => loadFeeds(path, [float('x', 'n', 4)])).toThrow("'input.x' is [2,3], the input is [n,4]");
  expect(() => loadFeeds(path, [float('x', 'n')])).toThrow("'input.x' is [2,3], the input is [n]");
});

test.each(['llama-past-dy18-sdpa', 't5-seq-ts17-sdpa', 'ms-gqa-rotary'])(
  '%s gives the outputs that its file expects',
  async (name) => {
    const { model, io } = openExport(name);
    await withSession(model, {}, async (session) => {
      const { feeds, expected, unused } = loadFeeds(io, session.inputs);
      expect(unused).toEqual([]);
      const comparison = compare(expected, await session.run(feeds, Object.keys(expected)));
      expect(comparison).toMatchObject({ passed: true });
      expect(Object.keys(comparison.outputs).length).toBeGreaterThan(0);
    });
  },
);
