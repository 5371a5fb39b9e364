/**
 * Issue 3, point 0, for the other architectures of fixtures/exports: whatever a rewrite adds is filled with random numbers,
 * the same ones in every export of an architecture, which must then give the same outputs.
 */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { exportNames, openExport } from '../support/fixtures';
import { doubledKeys } from '../support/key-cache';
import { expectClose, largestDifference, readTensors, runModel } from '../support/run';
import { randomParameters } from '../support/second-weights';

/** Attentions in each; multi-query attention has one key head, which cannot be split. */
interface Known {
  readonly attentions: number;
  readonly split: boolean;
  /** Exports that compute the same, where not all do. */
  readonly forms?: readonly RegExp[];
}

const known: Record<string, Known> = {
  'albert-enc': { attentions: 2, split: true },
  'bart-seq': { attentions: 6, split: true },
  'bloom-dec': { attentions: 2, split: true },
  'bloom-past': { attentions: 2, split: true },
  'einsum-custom': { attentions: 1, split: true },
  'falcon-dec': { attentions: 2, split: false },
  'falcon-past': { attentions: 2, split: false },
  'gemma-dec': { attentions: 2, split: false },
  // exported with scaled_dot_product_attention it has no soft cap
  'gemma2-past': { attentions: 2, split: true, forms: [/eager$/, /sdpa$/] },
  'gpt2-past': { attentions: 2, split: true },
  'llama-past': { attentions: 2, split: true },
  'mpt-dec': { attentions: 2, split: true },
  'opt-past': { attentions: 2, split: true },
  'phi-dec': { attentions: 2, split: true },
  'phi-past': { attentions: 2, split: true },
  'qwen2-past': { attentions: 2, split: true },
  'swin-vis': { attentions: 4, split: true },
  't5-seq': { attentions: 6, split: true },
  'torch_encoder-custom': { attentions: 2, split: true },
};

const architectures = Object.entries(known).flatMap(([name, { forms = [/./], ...rest }]) =>
  forms.map((form) => ({ name, form, ...rest })),
);

describe.each(architectures)('$name, $form', ({ name: architecture, form, attentions, split }) => {
  const [first = '', ...others] = exportNames().filter(
    (name) => name.startsWith(`${architecture}-`) && !name.includes('+') && form.test(name),
  );
  const feeds = readTensors(openExport(first).io, 'input.');
  const modes: RewriteFileSettings[] = [{}, { sublayerNorm: false, emit: 'inline' }, { preset: 'v2' }];

  const halves: RewriteFileSettings[] = [
    { splitHeads: true },
    { splitHeads: true, sublayerNorm: false },
    { preset: 'paper' },
  ];

  describe.each(split ? [...modes, ...halves] : modes)('%j', (settings) => {
    const run = async (name: string) => {
      const output = rewriteModel(openExport(name).model, settings);
      expect(output.layers).toHaveLength(attentions);
      return runModel(randomParameters(output), doubledKeys(feeds, output.model, 'random'));
    };
    const expected = run(first);

    test('moves the outputs', async () => {
      const base = readTensors(openExport(first).io, 'output.');
      for (const [name, tensor] of Object.entries(await expected)) {
        // caches of the first layer are what they were
        if (!name.startsWith('present')) expect(largestDifference(base[name], tensor)).toBeGreaterThan(0.01);
      }
    });

    test.each(others)(`%s gives what ${first} gives`, async (name) => {
      expectClose(await run(name), await expected, 2e-4);
    });
  });

  test.each([first, ...others])('%s: zero init and preserve keep the outputs', async (name) => {
    const { model, io } = openExport(name);
    for (const settings of [{ init: 'zero' }, { init: 'preserve' }, { preset: 'v2', init: 'preserve' }]) {
      const output = rewriteModel(model, { ...settings, sublayerNorm: false });
      const actual = await runModel(
        rewrittenBytes(output).read(),
        doubledKeys(readTensors(io, 'input.'), output.model, 'copies'),
      );
      // present keys have twice the heads; what they hold shows in the logits of the next step
      const same = Object.entries(readTensors(io, 'output.')).filter(
        ([key, { shape }]) => actual[key]?.shape.join() === shape.join(),
      );
      expectClose(actual, Object.fromEntries(same), 1e-4);
    }
  });
});
