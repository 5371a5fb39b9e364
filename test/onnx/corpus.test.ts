import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { encode, modelBytes, readModel, tensorsOf, writeModel } from '../../src/onnx';
import { traceOf } from '../../src/onnx/trace';
import { forget } from './arbitrary';

/** Real exports; not part of the repository. */
const CORPUS = '/work/shared/corpus';
const models = fs.existsSync(CORPUS) ? fs.readdirSync(CORPUS).filter((name) => name.endsWith('.onnx')) : [];
const whereCorpus = models.length > 0 ? describe : describe.skip;
// jest refuses an empty table, even of tests that are skipped.
if (models.length === 0) models.push('none');

whereCorpus(`the corpus of real exports (skipped where ${CORPUS} is missing)`, () => {
  let folder: string;
  beforeAll(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'diffx-corpus-'));
  });
  afterAll(() => fs.rmSync(folder, { recursive: true }));

  test.each(models)('%s: reading and writing gives the same bytes', (name) => {
    const file = path.join(CORPUS, name);
    const before = fs.readFileSync(file);
    const inMemory = encode('ModelProto', readModel(file).proto);
    expect(before.equals(inMemory.read())).toBe(true);
    const source = readModel(file, { inMemoryUpTo: 0 });
    const target = path.join(folder, name);
    writeModel(source.proto, target, { externalData: { keepLocationsOf: source } });
    expect(fs.readFileSync(target).equals(before)).toBe(true);
  });

  test.each(models)('%s: encoding every field anew keeps every value', (name) => {
    const source = readModel(path.join(CORPUS, name), { inMemoryUpTo: 0 });
    const copy = forget(source.proto);
    expect(traceOf(copy)).toBeUndefined();
    const bytes = Buffer.from(encode('ModelProto', copy).read());
    // The exporters write fields in the order of their numbers, as diffx does.
    expect(bytes.equals(fs.readFileSync(source.path))).toBe(true);
  });

  test.each(models)('%s: every tensor has the bytes that its type and shape demand', (name) => {
    const source = readModel(path.join(CORPUS, name));
    for (const tensor of tensorsOf('ModelProto', source.proto)) {
      const bytes = source.tensorBytes(tensor);
      expect(bytes.read().length).toBe(bytes.length);
    }
    const inline = modelBytes(source.proto, source);
    if (source.externalFiles.length === 0) expect(inline.length).toBe(source.size);
    else expect(inline.length).toBeGreaterThan(source.size);
  });
});
