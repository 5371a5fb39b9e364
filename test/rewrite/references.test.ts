/** Issue 2, item 1: rewritten exports give what PyTorch gives with the same differential attention. */
import type { RewriteFileSettings } from '../../src/api/rewrite';
import { architectures, exportsOf, toleranceOf } from '../support/exports';
import { openExport, openReference, referenceNames } from '../support/fixtures';
import { rewriteToBytes } from '../support/models';
import { expectClose, largestDifference, readTensors, runModel } from '../support/run';

const KINDS: Record<string, (eps: number) => RewriteFileSettings> = {
  'mirror-nonorm': () => ({ init: 'mirror', sublayerNorm: false }),
  'split-nonorm': () => ({ splitHeads: true, sublayerNorm: false }),
  'split-norm': (normEps) => ({ splitHeads: true, normEps }),
};

const withReference = architectures.filter(({ name }) => referenceNames().includes(name));

test('ten of the twelve architectures have reference results', () => {
  expect(withReference).toHaveLength(10);
});

describe.each(withReference)('$name', ({ name: architecture }) => {
  const { settings, lambda, io } = openReference(architecture);
  const feeds = readTensors(io, 'input.');
  const base = readTensors(io, 'base.');

  test.each(Object.keys(KINDS))('%s differs from the base model by more than the tolerance', (kind) => {
    for (const [output, tensor] of Object.entries(readTensors(io, `${kind}.`))) {
      expect(largestDifference(base[output], tensor)).toBeGreaterThan(0.1);
    }
  });

  describe.each(exportsOf(architecture))('%s', (name) => {
    const { model } = openExport(name);

    test.each(Object.keys(KINDS).flatMap((kind) => ['function', 'inline'].map((emit) => ({ kind, emit }))))(
      '$kind, emitted as $emit',
      async ({ kind, emit }) => {
        const rewrite = KINDS[kind]?.(settings.eps);
        const actual = await runModel(rewriteToBytes(model, { ...rewrite, emit, weights: lambda }), feeds);
        expectClose(actual, readTensors(io, `${kind}.`), toleranceOf(name, 2e-4));
      },
    );
  });
});
