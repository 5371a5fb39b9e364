/**
 * Models in bfloat16. ONNX Runtime has too few operators for them on the CPU, so verification runs both models with
 * float32 in its place: each bfloat16 is a float32.
 */
import { type RewriteFileSettings, rewriteModel } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { load, save } from '../../src/ir';
import { DataType, modelBytes, readModel } from '../../src/onnx';
import { widened } from '../../src/verify/wide';
import { scopesFixture } from '../support/fixtures';
import { expectClose, largestDifference, readTensors, runModel } from '../support/run';
import { Draft } from './support/draft';
import { failedChecks, findingsOf, pairOfModel } from './support/pairs';

const names = ['bert-enc-ts17-sdpa', 'gpt2-dec-dy23-sdpa', 'llama-dec-ts17-sdpa'];
const fixture = (name: string) => scopesFixture(`bfloat16_${name}.onnx`);

describe.each(names)('%s', (name) => {
  const io = () => scopesFixture(`bfloat16_${name}.io.safetensors`);

  test('new weights are bfloat16, lambda is computed in float32', () => {
    const { model, layers } = rewriteModel(fixture(name));
    expect(layers).toHaveLength(2);
    const added = [...model.graph.values.values()].filter(({ initializer }) => initializer);
    const typesOf = (part: RegExp) =>
      new Set(
        added.flatMap(({ name: each, initializer }) => (part.test(each) ? [initializer?.dataType] : [])),
      );
    expect(typesOf(/\.([qk]2_proj|subln)\./)).toEqual(new Set([DataType.BFLOAT16]));
    expect(typesOf(/\.lambda_/)).toEqual(new Set([DataType.FLOAT]));
    const [fn] = model.newFunctions;
    const casts = fn?.node.filter(({ opType }) => opType === 'Cast') ?? [];
    expect(casts.map(({ input, attribute }) => [input[0], Number(attribute[0]?.i)])).toEqual(
      expect.arrayContaining([['lambda', DataType.BFLOAT16]]),
    );
  });

  test.each<RewriteFileSettings>([{ init: 'preserve' }, { init: 'zero', sublayerNorm: false }])(
    '%j: widened, it gives what the export in float32 gave, as far as bfloat16 goes',
    async (settings) => {
      const { model } = rewriteModel(fixture(name), settings);
      const proto = widened(save(model), model.file);
      const tensorBytes = model.file.tensorBytes.bind(model.file);
      const bytes = modelBytes(proto, { name: 'wide', tensorBytes }).read();
      const wanted = readTensors(io(), 'output.');
      const given = await runModel(bytes, readTensors(io(), 'input.'), { outputs: Object.keys(wanted) });
      const original = load(readModel(fixture(name)));
      const wide = modelBytes(widened(save(original), original.file), {
        name: 'wide',
        tensorBytes: original.file.tensorBytes.bind(original.file),
      }).read();
      expectClose(given, await runModel(wide, readTensors(io(), 'input.')), 1e-4);
      expectClose(given, wanted, 0.1);
      const [output = ''] = Object.keys(wanted);
      expect(largestDifference(given[output], wanted[output])).toBeGreaterThan(1e-4);
    },
  );

  test.each<RewriteFileSettings>([{}, { splitHeads: true }, { init: 'mirror', emit: 'inline' }])(
    '%j: verified',
    async (settings) => {
      const { original, rewritten } = pairOfModel(fixture(name), settings);
      const report = await verifyModels(original, rewritten);
      expect(findingsOf(report)).toEqual([]);
      expect(report.notVerified.join()).toContain('how bfloat16 is rounded');
    },
  );
});

test('damage is found: another operator, and one bit of a weight', async () => {
  const { original, rewritten } = pairOfModel(fixture('bert-enc-ts17-sdpa'), {});
  const draft = new Draft(rewritten);
  draft.part('map', '').opType = 'Add';
  const report = await verifyModels(original, draft.write());
  expect(failedChecks(report)).toEqual(['layers']);

  const bit = new Draft(rewritten);
  const weight = 'm.encoder.layer.0.attention.self.q2_proj.weight';
  bit.weight(weight, (bytes) => {
    bytes[0] = (bytes[0] ?? 0) ^ 1;
  });
  expect(failedChecks(await verifyModels(original, bit.write()))).toContain('parameters');
});
