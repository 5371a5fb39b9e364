/** `--debug`: both models side by side, and greedy decoding. */
import * as path from 'node:path';
import { debugAfter, debugBefore } from '../../src/api/debug';
import { type RewriteFileSettings, rewriteModel, writeRewritten } from '../../src/api/rewrite';
import { load } from '../../src/ir';
import { readModel } from '../../src/onnx';
import { decodeGreedily } from '../../src/verify/decode';
import { knownInputs } from '../../src/verify/input-roles';
import { withSession } from '../../src/verify/session';
import { openExport, temporaryFolder } from '../support/fixtures';
import { intTensor, numbersOf, runModel } from '../support/run';

let files = 0;

async function decode(model: string, tokens = 20) {
  return withSession(model, {}, (session) => {
    const read = load(readModel(model));
    return decodeGreedily(read, session, knownInputs(read, session.inputs), { tokens });
  });
}

async function debug(model: string, settings: RewriteFileSettings) {
  const before = await debugBefore(model);
  const target = path.join(temporaryFolder(), `debug-${files++}.onnx`);
  writeRewritten(rewriteModel(model, settings), target, false);
  return debugAfter(target, before);
}

describe('greedy decoding', () => {
  test('says at each step the likeliest word of the logits, computed step by step', async () => {
    const { model } = openExport('llama-dec-ts17-sdpa');
    const decoding = await decode(model, 6);
    if ('notDecoded' in decoding) throw new Error(decoding.notDecoded);
    const said = [...decoding.prompt];
    for (let step = 0; step < 6; step++) {
      const shape = [1, said.length];
      const feeds = {
        input_ids: intTensor(shape, said),
        attention_mask: intTensor(
          shape,
          said.map(() => 1),
        ),
      };
      const { logits } = await runModel(model, feeds);
      const last = numbersOf(logits).slice(-(logits?.shape[2] ?? 0));
      said.push(last.indexOf(Math.max(...last)));
    }
    expect(decoding.tokens).toEqual(said.slice(decoding.prompt.length));
    expect([decoding.cached, decoding.stopped]).toEqual([false, undefined]);
  });

  // Exports of one architecture share their weights.
  test.each([
    ['llama-past-ts17-sdpa', 'llama-dec-ts17-sdpa'],
    ['llama-past-dy18-sdpa', 'llama-dec-dy18-sdpa'],
    ['llama-past-dy18-sdpa+ortfused', 'llama-dec-dy18-sdpa'],
    ['gpt2-past-ts14-eager', 'gpt2-dec-ts14-eager'],
    ['opt-past-dy23-sdpa', 'opt-dec-dy23-sdpa'],
    ['falcon-past-ts17-sdpa', 'falcon-dec-ts17-sdpa'],
    ['llama-merged-if-ts17', 'llama-dec-ts17-sdpa'],
  ])('%s says with its cache what %s says without', async (past, dec) => {
    const [withCache, without] = [await decode(openExport(past).model), await decode(openExport(dec).model)];
    expect(withCache).toEqual({ ...without, cached: true });
    expect(withCache).toMatchObject({ tokens: expect.any(Array), stopped: undefined });
  });

  test.each([
    ['bert-enc-ts17-sdpa', /^none of its outputs has one number for each word/],
    ['vit-vis-ts17-sdpa', /^it has no input of token ids$/],
    ['bart-seq-ts17-sdpa', /^it has several inputs of token ids$/],
  ])('%s is no decoder', async (name, why) => {
    expect(await decode(openExport(name).model)).toEqual({ notDecoded: expect.stringMatching(why) });
  });
});

describe('both models', () => {
  test.each<[string, RewriteFileSettings]>([
    ['llama-dec-ts17-sdpa', { init: 'preserve' }],
    ['llama-past-dy18-sdpa', { init: 'zero', sublayerNorm: false, mixInput: true }],
    ['llama-past-ts14-eager', { init: 'preserve', emit: 'inline' }],
  ])('%s: results and generations match where the options keep the function: %j', async (name, settings) => {
    const report = await debug(openExport(name).model, settings);
    expect(report).toMatchObject({ match: true, matchExpected: true, notRun: null, notDecoded: null });
    expect(report.outputs['logits']?.match).toBe(true);
    expect(report.decoding?.match).toBe(true);
    expect(report.decoding?.before).toHaveLength(20);
    expect(report.decoding?.cached).toEqual(name.includes('past') ? [true, true] : [false, false]);
    expect(report.after.nodes).toBeGreaterThan(report.before.nodes);
    expect([report.before.attentions, report.after.attentions]).toEqual([2, 2]);
  });

  test.each<[RewriteFileSettings, RegExp]>([
    [{}, /norm/],
    [{ sublayerNorm: false }, /random/],
    [{ init: 'mirror', sublayerNorm: false }, /1 - lambda/],
    [{ splitHeads: true }, /split heads/],
  ])('a mismatch is found and expected: %j', async (settings, because) => {
    const report = await debug(openExport('llama-past-ts17-sdpa').model, settings);
    expect(report).toMatchObject({ match: false, matchExpected: false, notRun: null });
    expect(report.decoding?.match).toBe(false);
    expect(report.because).toMatch(because);
  });

  test('a model that is no decoder is run all the same', async () => {
    const report = await debug(openExport('vit-vis-ts17-sdpa').model, { init: 'preserve' });
    expect(report).toMatchObject({ match: true, decoding: null, notDecoded: 'it has no input of token ids' });
  });
});
