/** Issue 9: the fuzzer itself. It finds what is planted, and its mutants are the same everywhere. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { rewriteModel } from '../../src/api/rewrite';
import { errors } from '../../src/errors';
import { memoryBytes } from '../../src/onnx';
import { ATTENTION } from '../support/attention-text';
import { openExport, temporaryFolder } from '../support/fixtures';
import { modelPath, textBytes } from '../support/models';
import { factsOf } from './draft';
import { minimised } from './minimise';
import { KINDS, mutant } from './mutate';
import { judge } from './oracle';
import { readFields, writeFields } from './wire';

const FILE = modelPath(textBytes(ATTENTION));
const judged = (rewrite?: typeof rewriteModel) => judge(FILE, 0, () => undefined, rewrite);

describe('the oracle', () => {
  test('finds nothing where nothing is wrong', async () => {
    expect(await judged()).toEqual({ outcome: 'rewritten' });
  });

  test('finds errors that are not diffx’s own, and those that say so of themselves', async () => {
    const broken = (error: Error) => () => {
      throw error;
    };
    for (const error of [new TypeError('x is undefined'), errors.internal('x')])
      expect((await judged(broken(error))).finding).toMatchObject({ what: 'error' });
    expect(await judged(broken(errors.noAttention('x')))).toEqual({ outcome: 'refused: no-attention' });
  });

  const changed =
    (change: (output: ReturnType<typeof rewriteModel>) => void): typeof rewriteModel =>
    (file, settings) => {
      const output = rewriteModel(file, settings);
      change(output);
      return output;
    };

  test('finds a rewrite that gives something else', async () => {
    const damage = changed(({ model }) => {
      const value = model.graph.values.get('layers.0.attn.q2_proj.weight');
      const tensor = value?.initializer;
      if (value && tensor)
        model.replaceInitializer(value, { ...tensor, rawData: memoryBytes(new Uint8Array(8 * 8 * 4)) });
    });
    expect((await judged(damage)).finding).toMatchObject({ what: 'wrong' });
  });

  test('finds a rewrite that does not load', async () => {
    const damage = changed(({ model }) => {
      const value = model.graph.values.get('layers.0.attn.q_proj.weight');
      const tensor = value?.initializer;
      if (value && tensor) model.replaceInitializer(value, { ...tensor, dims: [4n, 16n] });
    });
    expect((await judged(damage)).finding).toMatchObject({ what: 'refused by ONNX Runtime' });
  });
});

describe('mutants', () => {
  const bytes = new Uint8Array(fs.readFileSync(openExport('llama-dec-ts17-sdpa').model));
  const facts = factsOf(bytes);
  const made = (iteration: number, kind: (typeof KINDS)[number]) =>
    mutant(5, iteration, { bytes, facts: () => facts, other: bytes }, kind);

  test.each(KINDS)('of %s are the same for a seed and an iteration, and others for others', (kind) => {
    const one = made(3, kind);
    expect(Buffer.compare(one.bytes, made(3, kind).bytes)).toBe(0);
    const others = Array.from({ length: 20 }, (_, i) => made(i, kind));
    expect(new Set(others.map((each) => Buffer.from(each.bytes).toString('base64'))).size).toBeGreaterThan(
      15,
    );
    for (const each of others) expect(each.mutations.length).toBeGreaterThan(0);
  });

  test('the wire format is read and written', () => {
    expect(Buffer.compare(writeFields(readFields(bytes) ?? []), bytes)).toBe(0);
    expect(readFields(bytes.subarray(0, 1000))).toBeUndefined();
  });
});

test('a finding is made smaller', async () => {
  const bytes = textBytes(ATTENTION);
  const shows = async (each: Uint8Array) => Buffer.from(each).includes('Softmax');
  const smaller = await minimised(bytes, shows, 20_000);
  expect(bytes.length).toBeGreaterThan(1000);
  expect(smaller.length).toBeLessThan(200);
  const file = path.join(temporaryFolder(), 'smaller.onnx');
  fs.writeFileSync(file, smaller);
  expect(() => rewriteModel(file)).toThrow();
});
