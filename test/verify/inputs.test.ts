/** `--inputs file.safetensors`: the recorded inputs, and no others. */
import * as path from 'node:path';
import { verifyModels } from '../../src/api/verify';
import { DiffxError } from '../../src/errors';
import { openExport, temporaryFolder } from '../support/fixtures';
import { readTensors, type Tensors, writeTensors } from '../support/run';
import { Draft } from './support/draft';
import { checkOf, failedChecks, findingsOf, pairOf } from './support/pairs';

function recorded(name: string, tensors: Tensors): string {
  const file = path.join(temporaryFolder(), `${name}.safetensors`);
  writeTensors(file, tensors);
  return file;
}

async function failure(run: Promise<unknown>): Promise<DiffxError> {
  const error = await run.then(
    () => new Error('nothing was thrown'),
    (reason: unknown) => reason,
  );
  if (error instanceof DiffxError) return error;
  throw error;
}

test.each(['bert-enc-ts14-eager', 'llama-past-dy18-sdpa', 'dinov2-vis-ts14-eager', 't5-seq-ts17-sdpa'])(
  '%s passes with the inputs that were recorded with it',
  async (name) => {
    const { io } = openExport(name);
    const { original, rewritten } = pairOf(name, { init: 'preserve' });
    const report = await verifyModels(original, rewritten, { inputs: io });
    expect(findingsOf(report)).toEqual([]);
    expect(report).toMatchObject({ passed: true, cases: [`inputs of ${io}`], notVerified: [] });
    expect(report.checks.filter(({ compared }) => compared === 0)).toEqual([]);
  },
);

test('damage shows with recorded inputs as well', async () => {
  const { io } = openExport('bert-enc-ts14-eager');
  const { original, rewritten, layers } = pairOf('bert-enc-ts14-eager', { emit: 'inline' });
  const draft = new Draft(rewritten);
  draft.part('map', layers[1]?.path ?? '').opType = 'Add';
  const report = await verifyModels(original, draft.write(), { inputs: io });
  expect(failedChecks(report)).toEqual(['layers']);
  expect(report.firstDivergingLayer).toBe(layers[1]?.path);
});

test('a missing input is one clear error', async () => {
  const { io } = openExport('bert-enc-ts14-eager');
  const { original, rewritten } = pairOf('bert-enc-ts14-eager');
  const { 'input.attention_mask': _, ...others } = readTensors(io);
  const inputs = recorded('one-missing', others);
  const error = await failure(verifyModels(original, rewritten, { inputs }));
  expect(error).toMatchObject({ code: 'feed-mismatch', exitCode: 2 });
  expect(error.message).toBe(`${inputs}: has no tensor 'input.attention_mask' for that input`);
});

test('an input of another shape or type is one clear error', async () => {
  const { io } = openExport('dinov2-vis-ts14-eager');
  const { original, rewritten } = pairOf('dinov2-vis-ts14-eager');
  const tensors = readTensors(io);
  const pixels = tensors['input.pixel_values'];
  if (!pixels) throw new Error('no pixels');
  const flat = recorded('flat', { 'input.pixel_values': { ...pixels, shape: [pixels.data.length] } });
  expect((await failure(verifyModels(original, rewritten, { inputs: flat }))).message).toMatch(
    /'input.pixel_values' is \[\d+\], the input is \[/,
  );
});

test('inputs that the original itself does not take are its own error, not one of the rewrite', async () => {
  const { io } = openExport('bert-enc-ts14-eager');
  const { original, rewritten } = pairOf('bert-enc-ts14-eager');
  const tensors = readTensors(io);
  const ids = tensors['input.input_ids'];
  if (!ids) throw new Error('no ids');
  const data = BigInt64Array.from({ length: ids.data.length }, () => 10_000n);
  const inputs = recorded('out-of-range', { ...tensors, 'input.input_ids': { ...ids, data } });
  const error = await failure(verifyModels(original, rewritten, { inputs }));
  expect(error).toMatchObject({ code: 'runtime-refused', exitCode: 2 });
  expect(error.message).toMatch(/^.*bert-enc-ts14-eager\.onnx: ONNX Runtime refuses it/);
});

test('branches that the recorded inputs do not take are said not to be verified', async () => {
  const { io } = openExport('llama-merged-if-ts17');
  const { original, rewritten } = pairOf('llama-merged-if-ts17');
  const report = await verifyModels(original, rewritten, { inputs: io });
  expect(findingsOf(report)).toEqual([]);
  expect(report.passed).toBe(true);
  expect(report.notVerified).toHaveLength(2);
  expect(report.notVerified[0]).toMatch(/_branch of .*: C: not reached by the inputs given$/);
  expect(
    Object.keys(checkOf(report, 'layers').comparisons).filter((each) => each.endsWith(': C')),
  ).toHaveLength(2);
});
