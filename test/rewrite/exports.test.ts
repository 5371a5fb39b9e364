/** Issue 2, item 1: every attention of the real exports is found, and what should keep the function keeps it. */
import { rewriteModel } from '../../src/api/rewrite';
import { architectures, exportsOf, toleranceOf } from '../support/exports';
import { openExport } from '../support/fixtures';
import { inWords } from '../support/found';
import { rewriteToBytes } from '../support/models';
import { expectClose, readTensors, runModel } from '../support/run';

test('the twelve architectures come in 65 forms', () => {
  expect(architectures.flatMap(({ name }) => exportsOf(name))).toHaveLength(65);
});

describe.each(architectures)('$name', ({ name: architecture, attention }) => {
  describe.each(exportsOf(architecture))('%s', (name) => {
    const { model, io } = openExport(name);

    test('both attentions are found, with the heads that the model has', () => {
      const { found, layers, left, notChosen } = rewriteModel(model);
      expect(inWords(found).misses).toEqual([]);
      expect({ left: left.length, notChosen: notChosen.length }).toEqual({ left: 0, notChosen: 0 });
      expect(layers.map(({ path }) => path.replace(/^m\./, ''))).toEqual(attention.map(({ path }) => path));
      expect(layers).toMatchObject(
        attention.map(({ heads, kvHeads, headWidth }, depth) => ({
          depth,
          heads,
          kvHeads,
          headWidth,
          valueWidth: headWidth,
        })),
      );
    });

    test.each([
      { init: 'zero', emit: 'function' },
      { init: 'zero', emit: 'inline' },
      { init: 'preserve', emit: 'function' },
      { init: 'preserve', emit: 'inline' },
    ])('$init init keeps the outputs, emitted as $emit', async ({ init, emit }) => {
      const rewritten = rewriteToBytes(model, { init, emit, sublayerNorm: false });
      const actual = await runModel(rewritten, readTensors(io, 'input.'));
      expectClose(actual, readTensors(io, 'output.'), toleranceOf(name, 1e-4));
    });
  });
});

// What ONNX Runtime's optimizer makes of a model must not be what makes it right.
test.each(architectures.map(({ name }) => exportsOf(name)[0] ?? ''))(
  '%s: the rewritten model is right without graph optimizations too',
  async (name) => {
    const { model, io } = openExport(name);
    const rewritten = rewriteToBytes(model, { init: 'preserve' });
    const actual = await runModel(rewritten, readTensors(io, 'input.'), { optimization: 'disabled' });
    expectClose(actual, readTensors(io, 'output.'), 1e-4);
  },
);
