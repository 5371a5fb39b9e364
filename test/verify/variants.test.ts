import * as fs from 'node:fs';
import * as os from 'node:os';
import { readModel } from '../../src/onnx';
import { withSession } from '../../src/verify/session';
import { makeVariant, modelSize } from '../../src/verify/variants';
import { openExport } from '../support/fixtures';

const folders = () => fs.readdirSync(os.tmpdir()).filter((name) => name.startsWith('diffx-verify-'));
const { model } = openExport('bert-enc-dy18-sdpa+external');

test('a small variant stays in memory, side file included', async () => {
  const before = folders();
  const variant = makeVariant(readModel(model), (edited) => edited.setMetadata('changed', 'yes'));
  expect(variant.model).toBeInstanceOf(Uint8Array);
  expect(folders()).toEqual(before);
  await withSession(variant.model, { threads: 1 }, async ({ inputs }) => {
    expect(inputs.map(({ name }) => name)).toContain('input_ids');
  });
});

test('a large one goes through a temporary file, which is gone after use; the model stays as it was', async () => {
  const before = folders();
  const bytes = fs.readFileSync(model);
  const variant = makeVariant(readModel(model), (edited) => edited.setMetadata('changed', 'yes'), {
    largest: 0,
  });
  expect(folders()).toHaveLength(before.length + 1);
  await withSession(variant.model, { threads: 1 }, async ({ outputs }) => {
    expect(outputs.length).toBeGreaterThan(0);
  });
  variant.discard();
  expect(folders()).toEqual(before);
  expect(fs.readFileSync(model).equals(bytes)).toBe(true);
});

test('nothing is left behind where the copy cannot be written', () => {
  const before = folders();
  const file = readModel(model);
  const unreadable = {
    ...file,
    path: file.path,
    directory: file.directory,
    size: file.size,
    proto: file.proto,
    externalFiles: file.externalFiles,
    sideFile: (location: string) => file.sideFile(location),
    tensorBytes: () => {
      throw new Error('the disk is full');
    },
  };
  expect(() => makeVariant(unreadable as typeof file, () => undefined, { largest: 0 })).toThrow(
    'the disk is full',
  );
  expect(folders()).toEqual(before);
});

test('the size of a model is that with its side files', () => {
  const file = readModel(model);
  const side = fs.statSync(`${model}.data`, { throwIfNoEntry: false })?.size;
  expect(modelSize(file)).toBe(
    file.size + (side ?? file.externalFiles.reduce((all, each) => all + file.sideFile(each).length, 0)),
  );
  expect(modelSize(file)).toBeGreaterThan(file.size);
});
