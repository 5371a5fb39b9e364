import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as ort from 'onnxruntime-node';
import { writeModel } from '../../src/onnx';
import { llama } from './llama';

const VOCAB = 50;
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'diffx-generate-'));
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

function int64(rows: readonly (readonly number[])[]): ort.Tensor {
  return new ort.Tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [
    rows.length,
    rows[0]?.length ?? 0,
  ]);
}

describe.each([
  ['grouped', 2],
  ['one key/value head per head', 4],
])('a small model, %s', (_name, kvHeads) => {
  let session: ort.InferenceSession;

  async function run(
    ids: ort.Tensor,
    mask: ort.Tensor,
  ): Promise<{ dims: readonly number[]; data: number[] }> {
    const { logits: found } = await session.run({ input_ids: ids, attention_mask: mask });
    if (found === undefined) {
      throw new Error('no logits');
    }
    return { dims: found.dims, data: Array.from(found.data as Float32Array) };
  }

  /** Logits of one row, by position. */
  async function logits(ids: readonly number[], mask = ids.map(() => 1)): Promise<number[][]> {
    const { data } = await run(int64([ids]), int64([mask]));
    return ids.map((_, at) => data.slice(at * VOCAB, (at + 1) * VOCAB));
  }

  function distance(a: readonly number[] | undefined, b: readonly number[] | undefined): number {
    return Math.max(...(a ?? []).map((value, i) => Math.abs(value - (b?.[i] ?? Number.NaN))));
  }

  beforeAll(async () => {
    const file = path.join(folder, `${kvHeads}.onnx`);
    writeModel(llama({ layers: 2, hidden: 32, heads: 4, kvHeads, intermediate: 48, vocab: VOCAB }), file);
    session = await ort.InferenceSession.create(file);
  });

  test('runs at any batch and length', async () => {
    const ids = int64([
      [1, 2, 3, 4, 5],
      [6, 7, 8, 9, 10],
      [1, 1, 1, 1, 1],
    ]);
    const { dims, data } = await run(ids, int64(Array(3).fill(Array(5).fill(1))));
    expect(dims).toEqual([3, 5, VOCAB]);
    expect(data.every(Number.isFinite)).toBe(true);
  });

  test('is causal: a token changes nothing before it, and something from there on', async () => {
    const before = await logits([3, 14, 15, 9, 2]);
    const after = await logits([3, 14, 15, 8, 2]);
    expect(distance(before[2], after[2])).toBeLessThan(1e-5);
    expect(distance(before[3], after[3])).toBeGreaterThan(1e-3);
    expect(distance(before[4], after[4])).toBeGreaterThan(1e-3);
  });

  test('does not look at what the mask hides', async () => {
    const before = await logits([7, 14, 15], [0, 1, 1]);
    const after = await logits([8, 14, 15], [0, 1, 1]);
    expect(distance(before[2], after[2])).toBeLessThan(1e-5);
  });

  test('knows positions', async () => {
    const forward = await logits([5, 6, 7]);
    const backward = await logits([6, 5, 7]);
    expect(distance(forward[2], backward[2])).toBeGreaterThan(1e-4);
  });
});

test('sizes that do not fit are refused', () => {
  const size = { layers: 1, hidden: 32, heads: 4, kvHeads: 3, intermediate: 48, vocab: VOCAB };
  expect(() => llama(size)).toThrow('heads a multiple of kv-heads');
});
