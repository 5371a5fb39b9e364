import { parseText, printText } from '../../src/ir/text';
import { encode, type ModelProto, parseModel, readModel, type TensorProto } from '../../src/onnx';
import {
  exportNames,
  goldenNames,
  openExport,
  openGolden,
  openReference,
  referenceNames,
} from '../support/fixtures';

/** What the text keeps of a message: no doc strings, no metadata below the model, names only where there are any. */
function kept(value: unknown, below = false): unknown {
  if (Array.isArray(value)) {
    return value.map((item) => kept(item, true));
  }
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) {
    return typeof value === 'bigint' ? `${value}n` : value;
  }
  if ('read' in value && typeof value.read === 'function') {
    return Buffer.from(value.read()).toString('hex');
  }
  const entries = Object.entries(value).filter(
    ([key, item]) =>
      item !== undefined &&
      item !== '' &&
      !(below && /^(docString|metadataProps|quantizationAnnotation)$/.test(key)),
  );
  return Object.fromEntries(entries.map(([key, item]) => [key, kept(item, true)]));
}

/** The tensor with its elements in rawData, where parseText puts them. */
function stored(model: ModelProto, tensorBytes: (tensor: TensorProto) => unknown): unknown {
  const convert = (value: unknown): unknown => {
    if (Array.isArray(value)) {
      return value.map(convert);
    }
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || 'read' in value) {
      return value;
    }
    const fields = Object.fromEntries(Object.entries(value).map(([key, item]) => [key, convert(item)]));
    if (!('dataType' in value) || !('externalData' in value) || fields['dataLocation'] === 1) {
      return fields;
    }
    const rawData = tensorBytes(value as TensorProto);
    return { ...fields, dataLocation: undefined, floatData: [], int32Data: [], int64Data: [], rawData };
  };
  return kept(convert(model));
}

test('the fixtures are complete', () => {
  expect(exportNames()).toHaveLength(166);
  expect(goldenNames()).toHaveLength(30);
  expect(referenceNames()).toHaveLength(13);
  expect(openGolden('base-kv2/axolotl-trained').settings.preset).toBe('axolotl');
  expect(openReference('llama-dec').settings.attention).toHaveLength(2);
  expect(() => openExport('nothing')).toThrow('fixtures/exports has no nothing.onnx');
});

test.each(exportNames())('%s: what prints parses, and prints the same', (name) => {
  const text = printText(readModel(openExport(name).model).proto, { maxElements: 32, metadata: true });
  const fill = (_name: string, count: number): Float32Array => new Float32Array(count);
  expect(printText(parseText(text, { fill }), { maxElements: 32, metadata: true })).toBe(text);
});

test.each([
  'llama-merged-if-ts17',
  'nanogpt-custom-dy18-sdpa',
  'distilbert-enc-ts14-eager',
  'llama-dec-ts17-sdpa+external',
  'llama-past-dy18-sdpa+fp16',
  'bert-enc-dy18-sdpa+int8',
])('%s: the text has the whole model', (name) => {
  const file = readModel(openExport(name).model);
  const parsed = parseText(printText(file.proto));
  expect(kept(parsed)).toEqual(stored(file.proto, file.tensorBytes));
  // and the codec takes it
  expect(kept(parseModel(encode('ModelProto', parsed).read()).proto)).toEqual(kept(parsed));
});
