/** Issue 2, item 4: same input, options and seed, same bytes; parameters are drawn by name. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { type RewriteFileSettings, rewriteModel, writeRewritten } from '../../src/api/rewrite';
import type { Model } from '../../src/ir';
import { derive, encode, parseModel } from '../../src/onnx';
import { decodeFloats } from '../../src/onnx/floats';
import { exportNames, openExport, temporaryFolder } from '../support/fixtures';
import { modelPath, rewriteToBytes, thrownBy } from '../support/models';

const LLAMA = openExport('llama-dec-ts17-sdpa').model;

const bytesOf = (settings: RewriteFileSettings, model = LLAMA) =>
  Buffer.from(rewriteToBytes(model, settings));

const everything: readonly RewriteFileSettings[] = [
  {},
  { emit: 'inline' },
  { init: 'zero' },
  { init: 'mirror' },
  { init: 'preserve' },
  { splitHeads: true },
  { splitHeads: true, init: 'mirror' },
  { mixInput: true, monitorLayers: 2, seed: 7 },
];

test.each(everything)('%j gives the same bytes twice', (settings) => {
  expect(bytesOf(settings).equals(bytesOf(settings))).toBe(true);
});

test('what is written is the same wherever it is written to', () => {
  const files = ['a.onnx', 'b.onnx'].map((name) => path.join(temporaryFolder(), name));
  for (const file of files) writeRewritten(rewriteModel(LLAMA), file, false);
  const [a, b] = files.map((file) => fs.readFileSync(file));
  expect(b && a?.equals(b)).toBe(true);
  expect(a?.equals(bytesOf({}))).toBe(true);
});

test.each(exportNames().filter((name) => /^(bert|gpt2|swin|bart)/.test(name)))(
  '%s gives the same bytes twice',
  (name) => {
    const { model } = openExport(name);
    const run = () => {
      try {
        return bytesOf({ allowPartial: true }, model).toString('latin1');
      } catch (error) {
        return `${error}`;
      }
    };
    expect(run()).toBe(run());
  },
);

test('the seed is 0 unless another is given, and another gives other numbers', () => {
  expect(bytesOf({}).equals(bytesOf({ seed: 0 }))).toBe(true);
  expect(bytesOf({}).equals(bytesOf({ seed: 1 }))).toBe(false);
});

/** The new parameters of a rewritten model by name, without the wrapper that some exporters put before it. */
function parametersOf(model: Model): Map<string, number[]> {
  const found = new Map<string, number[]>();
  for (const [name, { initializer }] of model.graph.values) {
    if (!initializer || !/\.(q2_proj\.\w+|k2_proj\.\w+|lambda_\w+|subln\.weight)$/.test(name)) continue;
    found.set(name.replace(/^m\./, ''), [
      ...decodeFloats(initializer.dataType as 1, model.bytes(initializer)),
    ]);
  }
  return found;
}

describe('parameters are drawn by name', () => {
  const parameters = (name: string, settings: RewriteFileSettings = {}) =>
    parametersOf(rewriteModel(openExport(name).model, settings).model);

  test('with another seed every drawn parameter is another', () => {
    const [one, other] = [parameters('llama-dec-ts17-sdpa'), parameters('llama-dec-ts17-sdpa', { seed: 1 })];
    expect([...one.keys()]).toEqual([...other.keys()]);
    for (const [name, values] of one) {
      const constant = /lambda_init|subln/.test(name);
      expect({ name, same: JSON.stringify(values) === JSON.stringify(other.get(name)) }).toEqual({
        name,
        same: constant,
      });
    }
  });

  test('and two parameters of one shape are drawn differently', () => {
    const drawn = [...parameters('bert-enc-ts14-eager')].filter(([name]) =>
      /lambda_[qk]|2_proj.weight/.test(name),
    );
    const different = new Set(drawn.map(([, values]) => JSON.stringify(values)));
    expect(different.size).toBe(drawn.length);
    expect(drawn).toHaveLength(12);
  });

  test('by every exporter of a model the same', () => {
    const all = ['ts14-eager', 'ts17-sdpa', 'dy18-eager', 'dy18-sdpa'].map((form) =>
      parameters(`llama-dec-${form}`),
    );
    for (const one of all) expect(new Map([...one].sort())).toEqual(new Map([...(all[0] ?? [])].sort()));
  });

  test('however many layers are rewritten', () => {
    const all = parameters('llama-dec-ts17-sdpa');
    const second = parameters('llama-dec-ts17-sdpa', { layers: '1' });
    expect([...second.keys()]).toEqual([...all.keys()].filter((name) => name.includes('layers.1')));
    for (const [name, values] of second) expect(values).toEqual(all.get(name));
  });
});

describe('a second rewrite', () => {
  test.each(everything)('of a model rewritten with %j is refused', (settings) => {
    const rewritten = modelPath(rewriteToBytes(LLAMA, settings));
    expect(thrownBy(() => rewriteModel(rewritten))).toMatchObject({
      code: 'already-differential',
      exitCode: 2,
    });
  });

  /** What some tools do: the model without its metadata. */
  function withoutMetadata(settings: RewriteFileSettings): string {
    const { proto } = parseModel(rewriteToBytes(LLAMA, settings));
    return modelPath(encode('ModelProto', derive(proto, { metadataProps: [] })).read());
  }

  test.each(everything.filter(({ emit }) => emit !== 'inline'))(
    'of a model rewritten with %j and stripped of its metadata is refused',
    (settings) => {
      const error = thrownBy(() => rewriteModel(withoutMetadata(settings)));
      expect(error).toMatchObject({ code: 'already-differential', exitCode: 2 });
    },
  );

  test.each(exportNames().filter((name) => name.startsWith('diffllama')))(
    '%s is differential already',
    (name) => {
      const error = thrownBy(() => rewriteModel(openExport(name).model));
      expect(error).toMatchObject({ code: 'already-differential', exitCode: 2 });
      expect(error.message).toMatch(/subtracts one attention from another/);
    },
  );
});
