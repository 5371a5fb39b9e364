import * as fs from 'node:fs';
import * as path from 'node:path';
import { DataType, encode, parseModel, readModel, type StringStringEntry } from '../../src/onnx';
import { failure, model, temporaryFolder, tensor } from './build';

const folder = temporaryFolder();
afterAll(folder.clear);
fs.mkdirSync(folder.in('model/sub'), { recursive: true });
const directory = folder.in('model');
fs.writeFileSync(path.join(directory, 'w.bin'), Buffer.from([9, 9, 9, 9, 0, 0, 128, 63, 0, 0, 0, 192]));
fs.writeFileSync(folder.in('outside.bin'), Buffer.alloc(64));
fs.symlinkSync('../outside.bin', path.join(directory, 'leads-out.bin'));
fs.symlinkSync('w.bin', path.join(directory, 'leads-in.bin'));
fs.symlinkSync('../w.bin', path.join(directory, 'sub/back.bin'));

/** Reads a model with one external tensor float[2] named `w`. */
function open(entries: Record<string, string>) {
  const externalData: StringStringEntry[] = Object.entries(entries).map(([key, value]) => ({ key, value }));
  const weight = tensor({ name: 'w', dims: [2n], dataType: DataType.FLOAT, dataLocation: 1, externalData });
  fs.writeFileSync(path.join(directory, 'm.onnx'), encode('ModelProto', model([weight])).read());
  const file = readModel(path.join(directory, 'm.onnx'));
  return { file, bytes: () => Buffer.from(file.tensorBytes(weight).read()).toString('hex') };
}

test.each([
  ['location, offset and length', { location: 'w.bin', offset: '4', length: '8' }],
  ['no length', { location: 'w.bin', offset: '4' }],
  ['a length of 0, which ONNX Runtime takes for none', { location: 'w.bin', offset: '4', length: '0' }],
  ['a detour', { location: './sub/../w.bin', offset: '4' }],
  ['a link inside the folder', { location: 'leads-in.bin', offset: '4' }],
  ['a link that comes back', { location: 'sub/back.bin', offset: '4' }],
])('external tensors are read: %s', (_, entries) => {
  const { file, bytes } = open(entries);
  expect(bytes()).toBe('0000803f000000c0');
  expect(file.externalFiles).toEqual([entries.location]);
});

test.each([
  ['no location', {}, 'external-data-invalid'],
  ['an empty location', { location: '' }, 'external-data-invalid'],
  ['a missing file', { location: 'gone.bin' }, 'external-data-missing'],
  ['a folder', { location: 'sub' }, 'not-a-file'],
  ['a file that is too short', { location: 'w.bin', offset: '8', length: '8' }, 'external-data-range'],
  ['an offset beyond the end', { location: 'w.bin', offset: '100' }, 'external-data-range'],
  ['a huge offset', { location: 'w.bin', offset: '99999999999999999999' }, 'external-data-invalid'],
  ['a negative offset', { location: 'w.bin', offset: '-4' }, 'external-data-invalid'],
  ['an offset that is no number', { location: 'w.bin', offset: '0x4' }, 'external-data-invalid'],
  ['an empty offset', { location: 'w.bin', offset: '' }, 'external-data-invalid'],
  ['a negative length', { location: 'w.bin', length: '-8' }, 'external-data-invalid'],
  ['a length that contradicts the shape', { location: 'w.bin', length: '4' }, 'tensor-invalid'],
  ['the parent folder', { location: '../outside.bin' }, 'external-data-escapes'],
  ['a detour out', { location: 'sub/../../outside.bin' }, 'external-data-escapes'],
  ['backslashes', { location: '..\\outside.bin' }, 'external-data-escapes'],
  ['an absolute path', { location: folder.in('outside.bin') }, 'external-data-escapes'],
  ['an absolute path of Windows', { location: 'C:\\w.bin' }, 'external-data-escapes'],
  ['a link that leads out', { location: 'leads-out.bin' }, 'external-data-escapes'],
  ['an impossible name', { location: 'w\0.bin' }, 'external-data-invalid'],
])('external data that cannot be: %s', (_, entries, code) => {
  const error = failure(() => open(entries).bytes());
  expect(error.split(':')[0]).toBe(code);
  if (code !== 'not-a-file') expect(error).toContain("tensor 'w'");
});

test('a model in memory without a folder has no side files', () => {
  const { file } = open({ location: 'w.bin', offset: '4' });
  const bytes = encode('ModelProto', file.proto).read();
  const [weight] = file.proto.graph?.initializer ?? [];
  if (weight === undefined) throw new Error('no weight');
  expect(failure(() => parseModel(bytes).tensorBytes(weight))).toContain('the model has no folder');
  expect(parseModel(bytes, { directory }).tensorBytes(weight).length).toBe(8);
});

test('side files have digests of their own', () => {
  const { file } = open({ location: 'w.bin', offset: '4' });
  expect(file.externalSha256()).toEqual([
    { location: 'w.bin', sha256: '64691c4c3e401da65ca46b5021cf04f7ccb548cd44b623db29af092f53d11c84' },
  ]);
});
