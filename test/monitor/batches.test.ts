/** Inputs by name and by pattern. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { DiffxError } from '../../src/errors';
import { findBatches } from '../../src/monitor/batches';
import { temporaryFolder } from '../support/fixtures';
import { thrownBy } from '../support/models';

const folder = fs.mkdtempSync(path.join(temporaryFolder(), 'batches-'));
const at = (name: string) => path.join(folder, name);
for (const name of ['b-1.safetensors', 'b-10.safetensors', 'b-2.safetensors', 'b[1].safetensors', 'x.json']) {
  fs.writeFileSync(at(name), '');
}
fs.mkdirSync(at('more'));
fs.writeFileSync(at('more/c.safetensors'), '');

const found = (...patterns: string[]) =>
  findBatches(patterns.map(at)).map((file) => path.relative(folder, path.resolve(file)));

test('files of a pattern stand in the order of the numbers in their names', () => {
  expect(found('b-*.safetensors')).toEqual(['b-1.safetensors', 'b-2.safetensors', 'b-10.safetensors']);
  expect(found('{b-2,b-1}.safetensors')).toEqual(['b-1.safetensors', 'b-2.safetensors']);
});

test('patterns stand in the order given, and each file once', () => {
  expect(found('**/c.safetensors', 'b-2.safetensors', 'b-?.safetensors')).toEqual([
    path.join('more', 'c.safetensors'),
    'b-2.safetensors',
    'b-1.safetensors',
  ]);
});

test('a file with brackets in its name is taken by it', () => {
  expect(found('b[1].safetensors')).toEqual(['b[1].safetensors']);
});

test('what matches nothing is an error that names it', () => {
  const error = thrownBy(() => findBatches([at('b-1.safetensors'), at('n*.safetensors')]));
  expect(error).toBeInstanceOf(DiffxError);
  expect([error.code, error.exitCode]).toEqual(['no-inputs', 2]);
  expect(error.message).toContain('n*.safetensors');
});
