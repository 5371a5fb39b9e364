/**
 * Exports from PyTorch whose queries and keys come from several linear layers or unusual forms of one: with given second
 * weights, the rewritten model gives what PyTorch gives with them.
 */
import * as path from 'node:path';
import { inspectModel } from '../../src/api/inspect';
import { rewriteModel, rewrittenBytes, writeRewritten } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { projectionsFixture, temporaryFolder } from '../support/fixtures';
import { expectClose, largestDifference, readTensors, runModel, writeTensors } from '../support/run';

const kinds = {
  lowrank: [
    'q2_proj.weight',
    'q2_proj.bias',
    'q2_proj.1.weight',
    'k2_proj.weight',
    'k2_proj.bias',
    'k2_proj.1.weight',
  ],
  latent: ['q2_proj.weight', 'k2_proj.weight', 'k2_proj.1.weight'],
  perhead: ['q2_proj.weight', 'k2_proj.weight'],
  convolved: ['q2_proj.weight', 'q2_proj.bias', 'k2_proj.weight'],
};

describe.each(Object.entries(kinds))('%s', (kind, parameters) => {
  const file = projectionsFixture(`${kind}-reference.safetensors`);
  const feeds = readTensors(file, 'input.');
  const base = readTensors(file, 'output.');
  const expected = readTensors(file, 'differential.');
  const weights = path.join(temporaryFolder(), `${kind}.safetensors`);
  writeTensors(weights, readTensors(file, 'second.'));

  describe.each(['ts17', 'dy18'])('%s', (exporter) => {
    const model = projectionsFixture(`${kind}-${exporter}.onnx`);

    test('has the parameters that belong to it', () => {
      const added = [...rewriteModel(model).model.graph.values.values()].flatMap(({ name, initializer }) =>
        initializer && /[qk]2_proj/.test(name) ? [name] : [],
      );
      const wanted = [0, 1].flatMap((layer) => parameters.map((name) => `layers.${layer}.attn.${name}`));
      expect(added.sort()).toEqual(wanted.sort());
    });

    test('inspection names every projection', () => {
      const { attentions } = inspectModel(model);
      const named = attentions.map(
        ({ binding: { query, key } }) => query.beside.length + key.beside.length + 2,
      );
      const weights = parameters.filter((name) => name.endsWith('weight')).length;
      expect(named).toEqual([weights, weights]);
    });

    test.each(['function', 'inline'] as const)('%s: gives what PyTorch gives', async (emit) => {
      const output = rewriteModel(model, { weights, sublayerNorm: false, emit });
      expect(output.weights).toMatchObject({ unused: [] });
      const inits = [0, 1].map((layer) => `layers.${layer}.attn.lambda_init`);
      expect(output.weights?.initialised.filter((name) => !inits.includes(name))).toEqual([]);
      const given = await runModel(rewrittenBytes(output).read(), feeds);
      expect(largestDifference(base['y'], expected['y'])).toBeGreaterThan(0.1);
      expectClose(given, expected, 2e-5);
    });

    test.each([{ init: 'zero', sublayerNorm: false }, { init: 'preserve' }] as const)(
      '%j keeps the function',
      async (settings) => {
        const rewritten = rewrittenBytes(rewriteModel(model, settings)).read();
        expectClose(await runModel(rewritten, feeds), base, 2e-5);
      },
    );

    test.each([{}, { splitHeads: true }] as const)('%j is verified', async (settings) => {
      const target = path.join(temporaryFolder(), 'rewritten.onnx');
      writeRewritten(rewriteModel(model, settings), target, true);
      const report = await verifyModels(model, target);
      expect(report.checks.flatMap(({ findings }) => findings)).toEqual([]);
      expect(report.passed).toBe(true);
    });
  });
});
