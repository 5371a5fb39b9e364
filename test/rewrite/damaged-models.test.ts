/**
 * SPEC section 8: whatever is wrong with a model, it is the user's error or a reason, never an internal one. With
 * DIFFX_DAMAGED_RUNS=2000, as many as that for each model.
 */
import { inspectModel } from '../../src/api/inspect';
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { DiffxError } from '../../src/errors';
import { encode, readModel } from '../../src/onnx';
import { damaged, randomOf } from '../support/damage';
import { openExport } from '../support/fixtures';
import { modelPath } from '../support/models';

const RUNS = Number(process.env['DIFFX_DAMAGED_RUNS'] ?? 30);

const SETTINGS: readonly RewriteFileSettings[] = [
  {},
  { splitHeads: true },
  { preset: 'v2' },
  { init: 'preserve', mixInput: true, monitorLayers: 2 },
  { emit: 'inline', allowPartial: true },
];

/** What is no error of the user's; undefined where all is well. */
function fault(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    const usual = error instanceof DiffxError && [2, 3].includes(error.exitCode);
    return usual ? undefined : String(error instanceof Error ? error.stack : error);
  }
}

test.each([
  'bert-enc-ts17-sdpa',
  'llama-past-dy18-sdpa',
  'gpt2-dec-dy23-sdpa',
  'bert-enc-dy18-sdpa+ortfused',
  'llama-dec-ts17-sdpa+q4',
  'llama-merged-if-ts17',
])('%s', (name) => {
  const { proto } = readModel(openExport(name).model);
  const faults = Array.from({ length: RUNS }, (_, seed) => {
    const random = randomOf(seed);
    const model = modelPath(encode('ModelProto', damaged(proto, random)).read());
    const settings = SETTINGS[random(SETTINGS.length)];
    const found =
      fault(() => inspectModel(model)) ?? fault(() => rewrittenBytes(rewriteModel(model, settings)).read());
    return found === undefined ? [] : [{ seed, settings, found }];
  });
  expect(faults.flat()).toEqual([]);
});
