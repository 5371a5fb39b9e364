/** Checkpoints whose headers are large: seconds, and no recursion, whatever they hold. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { openSafetensors } from '../../src/weights/checkpoint';
import { duplicateKey } from '../../src/weights/duplicate-key';
import { KeyIndex } from '../../src/weights/match-names';
import { temporaryFolder } from '../support/fixtures';
import { thrownBy } from '../support/models';

const SECONDS = 20_000;

function checkpoint(name: string, header: string, dataBytes: number): string {
  const json = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = path.join(temporaryFolder(), name);
  fs.writeFileSync(file, Buffer.concat([length, json, Buffer.alloc(dataBytes)]));
  return file;
}

test(
  'a string of 16 MB in the metadata, quotes and backslashes in it',
  () => {
    const text = 'a"\\ b'.repeat(16 << 18);
    const file = checkpoint('text.safetensors', JSON.stringify({ __metadata__: { text } }), 0);
    expect(openSafetensors(file).metadata['text']).toBe(text);
  },
  SECONDS,
);

const count = 200_000;
const names = Array.from({ length: count }, (_, index) => `model.layers.${index}.self_attn.q_proj.weight`);

test(
  '200,000 tensors are read, and each is found by its name',
  () => {
    const entries = names.map((name, index) => [
      name,
      { dtype: 'U8', shape: [1], data_offsets: [index, index + 1] },
    ]);
    const file = checkpoint('many.safetensors', JSON.stringify(Object.fromEntries(entries)), count);
    const opened = openSafetensors(file);
    expect(opened.names).toHaveLength(count);
    const index = new KeyIndex(opened.names);
    const lost = names.filter((name) => index.find(name.slice('model.'.length)) !== name);
    expect(lost).toEqual([]);
  },
  SECONDS,
);

test('a key that is there twice is found among them', () => {
  const fields = [...names, names[7] ?? ''].map(
    (name) => `${JSON.stringify(name)}: {"dtype": "a: \\"b\\", {"}`,
  );
  expect(duplicateKey(`{${fields.join(',')}}`)).toBe(names[7]);
  expect(duplicateKey(`{${fields.slice(0, -1).join(',')}}`)).toBeUndefined();
  const file = checkpoint('twice.safetensors', '{"a\\"": {}, "b": {}, "a\\u0022": {}}', 0);
  expect(thrownBy(() => openSafetensors(file))).toMatchObject({ code: 'not-safetensors', exitCode: 2 });
});

describe('names that one side has in front', () => {
  const index = new KeyIndex([
    'model.layers.0.attn.q.weight',
    'layers.1.attn.q.weight',
    'a.norm.weight',
    'b.norm.weight',
    'weight',
  ]);
  test.each([
    ['layers.0.attn.q.weight', 'model.layers.0.attn.q.weight'],
    ['wrapper.model.layers.0.attn.q.weight', 'model.layers.0.attn.q.weight'],
    ['encoder.layers.1.attn.q.weight', 'layers.1.attn.q.weight'],
    ['norm.weight', ['a.norm.weight', 'b.norm.weight']],
    ['a.norm.weight', 'a.norm.weight'],
    // A layer's number is no prefix, and one component in common is not enough.
    ['layers.2.attn.q.weight', undefined],
    ['attn.q.weight', undefined],
    ['weight', undefined],
  ])('%s', (name, key) => {
    expect(index.find(name)).toEqual(key);
  });
});
