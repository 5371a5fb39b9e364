import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import {
  computedBytes,
  DataType,
  derive,
  encode,
  isExternal,
  type ModelFile,
  type ModelProto,
  modelBytes,
  readModel,
  type TensorProto,
  writeModel,
} from '../../src/onnx';
import { asTheSource, inOneFile, inTwoFiles, LARGEST_MODEL } from '../../src/onnx/layout';
import { failure, field, floats, graph, model, node, temporaryFolder, tensor } from './build';

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.clear());

const files = () => fs.readdirSync(folder.path).sort();
const content = (name: string) => fs.readFileSync(folder.in(name));
const weights = (file: ModelFile) => file.proto.graph?.initializer ?? [];
const payload = (file: ModelFile, name: string) => {
  const found = weights(file).find((weight) => weight.name === name);
  return found && Buffer.from(file.tensorBytes(found).read()).toString('hex');
};
const entries = (weight: TensorProto | undefined) =>
  Object.fromEntries((weight?.externalData ?? []).map(({ key, value }) => [key, value]));
const withWeights = (proto: ModelProto, initializer: readonly TensorProto[]) =>
  derive(proto, { graph: proto.graph && derive(proto.graph, { initializer }) });
const three = () => model([floats('small', 4), floats('middle', 300), floats('large', 300_000)]);

/** Writes the three weights with a side file and reads the result. */
function external(name = 'source.onnx'): ModelFile {
  writeModel(three(), folder.in(name), { externalData: 'always' });
  return readModel(folder.in(name), { inMemoryUpTo: 0 });
}

describe('one file', () => {
  test('a new model is written and read back', () => {
    writeModel(three(), folder.in('m.onnx'));
    const file = readModel(folder.in('m.onnx'));
    expect(files()).toEqual(['m.onnx']);
    expect(payload(file, 'large')).toBe(
      Buffer.from(floats('', 300_000).rawData?.read() ?? []).toString('hex'),
    );
    expect(file.size).toBe(content('m.onnx').length);
    expect(file.sha256()).toBe(createHash('sha256').update(content('m.onnx')).digest('hex'));
    expect(file.externalFiles).toEqual([]);
  });

  test('it may be the source, changed and unchanged', () => {
    writeModel(three(), folder.in('m.onnx'));
    const before = content('m.onnx');
    const file = readModel(folder.in('m.onnx'), { inMemoryUpTo: 0 });
    writeModel(file.proto, folder.in('m.onnx'), { force: true });
    expect(content('m.onnx').equals(before)).toBe(true);
    writeModel(withWeights(file.proto, weights(file).slice(1)), folder.in('m.onnx'), { force: true });
    const after = readModel(folder.in('m.onnx'));
    expect(weights(after).map(({ name }) => name)).toEqual(['middle', 'large']);
    // The source can still be read: its bytes stay until nobody has them open.
    expect(payload(file, 'large')).toBe(payload(after, 'large'));
    expect(files()).toEqual(['m.onnx']);
  });

  test('computed payloads are written in pieces', () => {
    const pieces = computedBytes(12 << 20, function* () {
      const piece = new Uint8Array(4 << 20);
      for (const value of [1, 2, 3]) yield piece.fill(value); // the same array each time
    });
    const weight = tensor({ name: 'w', dims: [12n << 20n], dataType: DataType.UINT8, rawData: pieces });
    writeModel(model([weight]), folder.in('m.onnx'));
    const written = payload(readModel(folder.in('m.onnx')), 'w');
    expect(written).toBe(
      Buffer.from(pieces.chunks() && [1, 2, 3])
        .toString('hex')
        .replace(/../g, (byte) => byte.repeat(4 << 20)),
    );
  });

  test('modelBytes puts side files into the model', () => {
    const file = external();
    const bytes = Buffer.from(modelBytes(file.proto, file).read());
    expect(bytes.equals(encode('ModelProto', three()).read())).toBe(true);
    expect(() => modelBytes(file.proto)).toThrow('tensorBytes is needed');
  });
});

describe('two files', () => {
  test('short payloads stay, the others are aligned', () => {
    const file = external('m.onnx');
    expect(files()).toEqual(['m.onnx', 'm.onnx.data']);
    expect(weights(file).map(isExternal)).toEqual([false, true, true]);
    expect(entries(weights(file)[1])).toEqual({ location: 'm.onnx.data', offset: '0', length: '1200' });
    expect(entries(weights(file)[2])).toEqual({ location: 'm.onnx.data', offset: '4096', length: '1200000' });
    expect(content('m.onnx.data').length).toBe(4096 + 1200000);
    const inline = modelBytes(three());
    const whole = readModel(folder.in('m.onnx'));
    expect(Buffer.from(modelBytes(whole.proto, whole).read()).equals(inline.read())).toBe(true);
  });

  test('what was external or is new goes to one side file of the new name; the rest is untouched', () => {
    const file = external();
    const [small, middle, large] = weights(file);
    if (!small || !middle || !large) throw new Error('no weights');
    const odd = {
      ...middle,
      docString: 'kept',
      externalData: [...middle.externalData, { key: 'checksum', value: '1' }, { key: 'other', value: '2' }],
    };
    const list = [
      small,
      odd,
      { ...middle, name: 'shared' },
      large,
      floats('new', 256),
      floats('newSmall', 255),
    ];
    const changed = withWeights(file.proto, list);
    writeModel(changed, folder.in('t.onnx'), { tensorBytes: file.tensorBytes });
    expect(files()).toEqual(['source.onnx', 'source.onnx.data', 't.onnx', 't.onnx.data']);
    const result = readModel(folder.in('t.onnx'));
    expect(result.externalFiles).toEqual(['t.onnx.data']);
    expect(weights(result).map(isExternal)).toEqual([false, true, true, true, true, false]);
    expect(weights(result)[1]).toMatchObject({ name: 'middle', docString: 'kept', dims: [300n] });
    const place = { location: 't.onnx.data', offset: '0', length: '1200' };
    expect(entries(weights(result)[1])).toEqual({ ...place, other: '2' });
    expect(entries(weights(result)[2])).toEqual(place); // one payload for both
    for (const { name = '' } of weights(file)) expect(payload(result, name)).toBe(payload(file, name));
    expect(payload(result, 'shared')).toBe(payload(file, 'middle'));
  });

  test('they may be the source', () => {
    const file = external('m.onnx');
    const before = payload(file, 'large');
    const changed = withWeights(file.proto, weights(file).slice(2));
    writeModel(changed, folder.in('m.onnx'), { force: true, tensorBytes: file.tensorBytes });
    expect(files()).toEqual(['m.onnx', 'm.onnx.data']);
    expect(content('m.onnx.data').length).toBe(1200000);
    expect(payload(readModel(folder.in('m.onnx')), 'large')).toBe(before);
  });

  test('an empty payload comes into the model: there is nothing to point at', () => {
    const file = external();
    const place = { key: 'location', value: 'source.onnx.data' };
    const none = { ...floats('none', 0), rawData: undefined, dataLocation: 1, externalData: [place] };
    const changed = withWeights(file.proto, [derive(floats('none', 0), none)]);
    writeModel(changed, folder.in('t.onnx'), { tensorBytes: file.tensorBytes });
    expect(weights(readModel(folder.in('t.onnx')))[0]?.rawData?.length).toBe(0);
    expect(files()).toEqual(['source.onnx', 'source.onnx.data', 't.onnx']);
  });

  test('never: external payloads come into the model', () => {
    const file = external();
    writeModel(file.proto, folder.in('t.onnx'), { externalData: 'never', tensorBytes: file.tensorBytes });
    expect(files()).toEqual(['source.onnx', 'source.onnx.data', 't.onnx']);
    expect(content('t.onnx').equals(encode('ModelProto', three()).read())).toBe(true);
  });

  test('keepLocationsOf: same bytes, side files copied with their folders unless they are there', () => {
    const file = external();
    fs.mkdirSync(folder.in('sub'));
    fs.renameSync(folder.in('source.onnx.data'), folder.in('sub/w.bin'));
    const moved = weights(file).map((weight) =>
      isExternal(weight)
        ? derive(weight, {
            externalData: weight.externalData.map((e) =>
              e.key === 'location' ? { ...e, value: 'sub/w.bin' } : e,
            ),
          })
        : weight,
    );
    fs.writeFileSync(folder.in('a.onnx'), encode('ModelProto', withWeights(file.proto, moved)).read());
    const source = readModel(folder.in('a.onnx'));
    const externalData = { keepLocationsOf: source };
    writeModel(source.proto, folder.in('b.onnx'), { externalData });
    expect(content('b.onnx').equals(content('a.onnx'))).toBe(true);
    fs.mkdirSync(folder.in('elsewhere'));
    writeModel(source.proto, folder.in('elsewhere/a.onnx'), { externalData });
    expect(content('elsewhere/a.onnx').equals(content('a.onnx'))).toBe(true);
    expect(content('elsewhere/sub/w.bin').equals(content('sub/w.bin'))).toBe(true);
    expect(failure(() => writeModel(source.proto, folder.in('gone/a.onnx'), { externalData }))).toContain(
      'the folder does not exist',
    );
    expect(fs.existsSync(folder.in('gone'))).toBe(false);
  });

  test('more than 2 GiB: payloads leave the model, also for the one that has none outside', () => {
    const huge = (name: string) =>
      tensor({
        name,
        dims: [2n ** 29n],
        dataType: DataType.FLOAT,
        rawData: computedBytes(2 ** 31, () => []),
      });
    const changed = model([floats('w', 300), huge('h'), huge('i')]);
    const layout = asTheSource(changed, () => computedBytes(0, () => []), 'm.data', 'm.onnx');
    expect(layout.model.length).toBeLessThan(1000);
    expect(layout.side?.length).toBe(4096 + 2 ** 32);
    expect(failure(() => inOneFile(changed, () => computedBytes(0, () => []), 'm.onnx'))).toMatch(
      /^model-too-large: m.onnx/,
    );
    const attribute = {
      floats: [],
      ints: [],
      strings: [],
      tensors: [huge('c')],
      graphs: [],
      sparseTensors: [],
      typeProtos: [],
    };
    const constant = model([], { graph: graph({ node: [node({ attribute: [attribute] })] }) });
    expect(failure(() => inTwoFiles(constant, () => computedBytes(0, () => []), 'm.data', 'm.onnx'))).toMatch(
      /^model-too-large/,
    );
    expect(LARGEST_MODEL).toBe(2147483647);
  });

  test('ONNX Runtime computes the same from one file and from two', async () => {
    const { InferenceSession, Tensor } = await import('onnxruntime-node');
    const small = model([floats('a', 300), floats('b', 300)]);
    writeModel(small, folder.in('one.onnx'));
    writeModel(small, folder.in('two.onnx'), { externalData: 'always' });
    const feeds = { x0: new Tensor('float32', new Float32Array(300).fill(0.5), [300]) };
    for (const name of ['one.onnx', 'two.onnx']) {
      const session = await InferenceSession.create(folder.in(name));
      const { x2 } = await session.run(feeds);
      expect(x2?.data[7]).toBe(14.5);
      await session.release();
    }
  });
});

test('unknown fields of a model survive that its tensors move to a side file', () => {
  const unknown = field(900, 'kept');
  const bytes = Buffer.concat([encode('ModelProto', three()).read(), unknown]);
  fs.writeFileSync(folder.in('m.onnx'), bytes);
  writeModel(readModel(folder.in('m.onnx')).proto, folder.in('t.onnx'), { externalData: 'always' });
  expect(content('t.onnx').includes(Buffer.from(unknown))).toBe(true);
});
