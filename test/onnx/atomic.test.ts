import * as fs from 'node:fs';
import * as path from 'node:path';
import {
  computedBytes,
  DataType,
  encode,
  memoryBytes,
  readModel,
  type WriteOptions,
  writeModel,
} from '../../src/onnx';
import { writeFiles } from '../../src/onnx/atomic';
import { failure, floats, model, temporaryFolder, tensor } from './build';

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.clear());

const files = () => fs.readdirSync(folder.path).sort();
const content = (name: string) => fs.readFileSync(folder.in(name));
const three = () => model([floats('small', 4), floats('middle', 300), floats('large', 300_000)]);

describe('complete or not at all', () => {
  const write = (target: string, options: WriteOptions = {}) =>
    failure(() => writeModel(three(), target, options));

  test('an existing target is refused without force, and so is an existing side file', () => {
    fs.writeFileSync(folder.in('m.onnx'), 'old');
    expect(write(folder.in('m.onnx'))).toMatch(/^exists/);
    fs.writeFileSync(folder.in('n.onnx.data'), 'old');
    expect(write(folder.in('n.onnx'), { externalData: 'always' })).toBe(
      `exists: ${folder.in('n.onnx.data')}: exists already`,
    );
    expect(files()).toEqual(['m.onnx', 'n.onnx.data']);
    expect(content('m.onnx').toString()).toBe('old');
  });

  test.each([
    ['a folder that is not there', 'gone/m.onnx', 'the folder does not exist'],
    ['a folder', '.', 'it is a folder'],
    ['a file as a folder', 'file/m.onnx', 'a part of the path is no folder'],
    ['a name that is too long', `${'n'.repeat(300)}.onnx`, 'the name is too long'],
  ])('%s cannot be written', (_, target, reason) => {
    fs.writeFileSync(folder.in('file'), '');
    for (const externalData of ['auto', 'always'] as const) {
      expect(write(folder.in(target), { externalData, force: true })).toMatch(/^unwritable/);
      expect(write(folder.in(target), { externalData, force: true })).toContain(reason);
    }
    expect(files()).toEqual(['file']);
  });

  test('devices are written to, not replaced', () => {
    expect(write('/dev/null')).toBe('no error');
    expect(write('/dev/full')).toContain('no space left on device');
    expect(write('/dev/null', { externalData: 'always' })).toContain('side file, which needs a folder');
    expect(fs.statSync('/dev/null').isCharacterDevice()).toBe(true);
  });

  test('what was written elsewhere is moved, with the others or not at all', () => {
    const staged = { path: folder.in('m'), staged: folder.in('stage/m') };
    const stage = () => {
      fs.mkdirSync(folder.in('stage'), { recursive: true });
      fs.writeFileSync(folder.in('stage/m'), 'new');
      fs.writeFileSync(folder.in('m'), 'old');
    };
    const text = memoryBytes(Buffer.from('text'));
    for (const other of [folder.in('gone/n'), '/dev/full']) {
      stage();
      expect(failure(() => writeFiles([staged, { path: other, bytes: text }], true))).toMatch(/^unwritable/);
      expect([files(), content('m').toString()]).toEqual([['m', 'stage'], 'old']);
    }
    stage();
    writeFiles([{ path: folder.in('n'), bytes: text }, staged], true);
    expect([files(), content('m').toString()]).toEqual([['m', 'n', 'stage'], 'new']);
    expect(fs.readdirSync(folder.in('stage'))).toEqual([]);
  });

  test('a descriptor is written to as well, though it leads to a file', () => {
    const descriptor = fs.openSync(folder.in('redirected'), 'w');
    expect(write(`/proc/self/fd/${descriptor}`)).toBe('no error');
    fs.closeSync(descriptor);
    expect(content('redirected').equals(encode('ModelProto', three()).read())).toBe(true);
    expect(files()).toEqual(['redirected']);
  });

  test('an error in the middle leaves what was there', () => {
    fs.writeFileSync(folder.in('m.onnx'), 'old');
    const broken = computedBytes(8 << 20, function* () {
      yield new Uint8Array(4 << 20);
      throw new Error('out of luck');
    });
    const changed = model([
      tensor({ name: 'w', dims: [2n << 20n], dataType: DataType.FLOAT, rawData: broken }),
    ]);
    for (const externalData of ['auto', 'always'] as const) {
      const options = { externalData, force: true };
      expect(() => writeModel(changed, folder.in('m.onnx'), options)).toThrow('out of luck');
      expect(files()).toEqual(['m.onnx']);
      expect(content('m.onnx').toString()).toBe('old');
    }
  });

  test('bytes that are fewer than announced are an error', () => {
    const short = computedBytes(8, () => [new Uint8Array(4)]);
    const outputs = [{ path: folder.in('a'), bytes: short }];
    expect(() => writeFiles(outputs, false)).toThrow('8 bytes announced, 4 given');
    expect(files()).toEqual([]);
  });

  test('if the second file cannot appear, the first is as it was', () => {
    const target = folder.in('m.onnx');
    // Somebody makes a folder of that name while the files are being written.
    const bytes = computedBytes(1, () => {
      fs.mkdirSync(target, { recursive: true });
      return [Uint8Array.of(1)];
    });
    const side = { path: folder.in('side'), bytes: computedBytes(1, () => [Uint8Array.of(2)]) };
    expect(failure(() => writeFiles([side, { path: target, bytes }], true))).toMatch(/^unwritable/);
    expect(files()).toEqual(['m.onnx']);
    fs.rmdirSync(target);
    fs.writeFileSync(folder.in('side'), 'old');
    expect(failure(() => writeFiles([side, { path: target, bytes }], true))).toMatch(/^unwritable/);
    expect(files()).toEqual(['m.onnx', 'side']);
    expect(content('side').toString()).toBe('old');
  });

  test('folders that were made for a side file go again', () => {
    const side = {
      path: folder.in('a/b/side'),
      bytes: computedBytes(1, () => [Uint8Array.of(2)]),
      makeFolder: true,
    };
    const bad = { path: folder.in('gone/m.onnx'), bytes: side.bytes };
    expect(failure(() => writeFiles([side, bad], false))).toMatch(/^unwritable/);
    expect(files()).toEqual([]);
    writeFiles([side], false);
    expect(content(path.join('a', 'b', 'side'))).toEqual(Buffer.of(2));
  });

  test('a source that is cut off while it is copied leaves nothing', () => {
    writeModel(three(), folder.in('source.onnx'), { externalData: 'always' });
    const file = readModel(folder.in('source.onnx'), { inMemoryUpTo: 0 });
    fs.truncateSync(folder.in('source.onnx.data'), 5000);
    const error = failure(() =>
      writeModel(file.proto, folder.in('t.onnx'), { tensorBytes: file.tensorBytes }),
    );
    expect(error).toMatch(/^external-data-range: tensor 'large'/);
    expect(files()).toEqual(['source.onnx', 'source.onnx.data']);
  });
});
