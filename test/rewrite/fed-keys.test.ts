/**
 * Cross-attention whose keys are an input: another run, or the other branch of a merged decoder, has projected them.
 * The fixtures are Optimum's own exports: decoders without past, with past, and both merged into one If.
 */

import { passes } from '../../passes';
import { type RewriteFileSettings, rewriteModel, writeRewritten } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { findAttention } from '../../src/attention/find';
import { declaredShape, load, save } from '../../src/ir';
import { encode, parseModel } from '../../src/onnx';
import { ATTENTION, line, variant } from '../support/attention-text';
import { randomFill, scopesFixture, temporaryFolder } from '../support/fixtures';
import { inWords } from '../support/found';
import { doubledKeys } from '../support/key-cache';
import { rewriteText, rewriteToBytes, textBytes, textModel, thrownBy, valueNamed } from '../support/models';
import {
  expectClose,
  floatTensor,
  intTensor,
  largestDifference,
  readTensors,
  runModel,
  type Tensor,
  type Tensors,
} from '../support/run';
import { findingsOf } from '../verify/support/pairs';

const architectures = ['t5', 'bart', 'whisper'];
const LENGTH = 6;

const fileOf = (architecture: string, part: string) => scopesFixture(`optimum_${architecture}-${part}.onnx`);
const inputsOf = (architecture: string) =>
  readTensors(scopesFixture(`optimum_${architecture}-io.safetensors`), 'input.');

/** Tokens `from` up to `to` of ids [2, LENGTH]. */
function tokens({ shape, data }: Tensor, from: number, to: number): Tensor {
  const rows = Array.from({ length: shape[0] ?? 0 }, (_, row) =>
    Array.from(data.subarray(row * LENGTH + from, row * LENGTH + to) as BigInt64Array),
  );
  return intTensor([rows.length, to - from], rows.flat().map(Number));
}

const logitsAt = ({ shape, data }: Tensor, from: number, to: number): Tensor => {
  const [batch = 0, length = 0, width = 0] = shape;
  const rows = Array.from({ length: batch }, (_, row) =>
    Array.from(data.subarray((row * length + from) * width, (row * length + to) * width) as Float32Array),
  );
  return floatTensor([batch, to - from, width], rows.flat());
};

const flag = (value: boolean): Tensor => ({ dtype: 9, shape: [1], data: Uint8Array.of(value ? 1 : 0) });

/** Caches of no tokens, as wide as the model declares them. */
function noPasts(model: Uint8Array): Tensors {
  const { graph } = load(parseModel(model));
  return Object.fromEntries(
    graph.inputs.flatMap((input): [string, Tensor][] => {
      if (!input.name.startsWith('past')) return [];
      const shape = (declaredShape(input) ?? []).map((size, axis) =>
        typeof size === 'number' ? size : axis === 0 ? 2 : 0,
      );
      return [[input.name, floatTensor(shape, [])]];
    }),
  );
}

/** What a run caches, as the next one takes it; caches that it left empty stay what they were. */
function nextPasts(before: Tensors, outputs: Tensors): Tensors {
  const given = Object.entries(outputs).flatMap(([name, tensor]): [string, Tensor][] =>
    name.startsWith('present') && !tensor.shape.includes(0)
      ? [[name.replace('present', 'past_key_values'), tensor]]
      : [],
  );
  return { ...before, ...Object.fromEntries(given) };
}

/** Decodes token by token: the first two at once by `first`, the others by `then` from what was cached. */
async function decode(
  inputs: Tensors,
  first: (feeds: Tensors) => Promise<Tensors>,
  then: (feeds: Tensors) => Promise<Tensors>,
  pasts: Tensors,
): Promise<Tensors> {
  const ids = inputs['input_ids'];
  if (!ids) throw new Error('no tokens');
  let cached = pasts;
  const logits: Record<string, Tensor> = {};
  for (let at = 0; at < LENGTH; ) {
    const to = at === 0 ? 2 : at + 1;
    const run = at === 0 ? first : then;
    const outputs = await run({ ...inputs, ...cached, input_ids: tokens(ids, at, to) });
    cached = nextPasts(cached, outputs);
    if (outputs['logits']) logits[`tokens ${at} to ${to}`] = outputs['logits'];
    at = to;
  }
  return logits;
}

function inPieces(logits: Tensor | undefined): Tensors {
  if (!logits) throw new Error('no logits');
  const ends = [0, 2, 3, 4, 5, 6];
  return Object.fromEntries(
    ends.slice(1).map((to, index) => {
      const from = ends[index] ?? 0;
      return [`tokens ${from} to ${to}`, logitsAt(logits, from, to)];
    }),
  );
}

describe.each(architectures)('%s', (architecture) => {
  const inputs = inputsOf(architecture);

  const others = [{ splitHeads: true }, { emit: 'inline', sublayerNorm: false }] as const;
  test.each<RewriteFileSettings>([{ seed: 4 }, ...(architecture === 'whisper' ? others : [])])(
    'merged, %j: decoding token by token equals one pass',
    async (settings) => {
      const bytes = rewriteToBytes(fileOf(architecture, 'merged'), settings);
      const pasts = noPasts(bytes);
      const run = (cached: boolean) => (feeds: Tensors) =>
        runModel(bytes, { ...feeds, use_cache_branch: flag(cached) });
      const whole = await run(false)({ ...inputs, ...pasts });
      expectClose(await decode(inputs, run(false), run(true), pasts), inPieces(whole['logits']), 2e-5);
    },
  );

  test('a decoder without past and one with past, rewritten apart with one seed, work together', async () => {
    const rewritten = (part: string) => rewriteToBytes(fileOf(architecture, part), { seed: 4 });
    const [without, withPast] = [rewritten('decoder'), rewritten('with_past')];
    const whole = await runModel(without, inputs);
    const decoded = await decode(
      inputs,
      (feeds) => runModel(without, feeds),
      (feeds) => runModel(withPast, feeds),
      {},
    );
    expectClose(decoded, inPieces(whole['logits']), 2e-5);
  });

  test.each(['merged', 'with_past'])('%s: verified', async (part) => {
    const source = fileOf(architecture, part);
    const target = `${temporaryFolder()}/${architecture}-${part}.diff.onnx`;
    writeRewritten(rewriteModel(source), target, true);
    const report = await verifyModels(source, target);
    expect(findingsOf(report)).toEqual([]);
  });

  test('the function is kept: what PyTorch gives', async () => {
    const reference = readTensors(scopesFixture(`optimum_${architecture}-io.safetensors`), 'output.');
    const bytes = rewriteToBytes(fileOf(architecture, 'merged'), { init: 'preserve' });
    const { logits } = await runModel(
      bytes,
      { ...inputs, ...noPasts(bytes), use_cache_branch: flag(false) },
      { outputs: ['logits'] },
    );
    if (!logits) throw new Error('no logits');
    expectClose({ logits }, reference, 1e-4);
  });

  test('both branches are the same layers, and caches hold twice the heads', () => {
    const { found, layers, model } = rewriteModel(fileOf(architecture, 'merged'));
    expect(found.misses).toEqual([]);
    expect(layers).toHaveLength(8);
    expect(new Set(layers.map(({ path }) => path)).size).toBe(4);
    const heads = [...model.graph.inputs, ...model.graph.outputs].flatMap((value) =>
      /^(past|present)/.test(value.name)
        ? [`${value.name.split('.').at(-1)} ${declaredShape(value)?.[1]}`]
        : [],
    );
    expect(new Set(heads)).toEqual(new Set(['key 8', 'value 4']));
    const parameters = [...model.graph.values.keys()].filter((name) => name.endsWith('k2_proj.weight'));
    expect(parameters).toHaveLength(4);
  });
});

/** Keys of [B, 2, T, 4] that are an input, by the lines that differ from ATTENTION. */
const FED = variant(ATTENTION, [
  ['(float[B, S, 8] x) =>', '(float[B, S, 8] x, float[B, 2, T, 4] past_k, float[B, 2, T, 4] past_v) =>'],
  [line('k_proj'), ''],
  [line('v_proj'), ''],
  [line('k_split'), ''],
  [line('v_split'), ''],
  [line('k_heads'), '  ["k_heads"] K = Transpose <perm = [0, 1, 3, 2]> (past_k)'],
  [line('v_heads'), '  ["v_heads"] V = Identity (past_v)'],
]);

const missesOf = (text: string) => inWords(findIn(text)).misses;
const findIn = (text: string) => findAttention(textModel(text), passes.recognisers);

describe('keys that are an input', () => {
  const feeds = {
    x: floatTensor([1, 3, 8], randomFill(1)('x', 24)),
    past_k: floatTensor([1, 2, 5, 4], randomFill(2)('k', 40)),
    past_v: floatTensor([1, 2, 5, 4], randomFill(3)('v', 40)),
  };

  test('both halves of the input are read: with copies in the second one, the function is kept', async () => {
    const { model } = rewriteText(FED, { init: 'preserve' });
    const bytes = encode('ModelProto', save(model)).read();
    const original = await runModel(textBytes(FED), feeds);
    expectClose(await runModel(bytes, doubledKeys(feeds, model, 'copies')), original, 1e-5);
    const other = await runModel(bytes, doubledKeys(feeds, model, 'random'));
    expect(largestDifference(original['y'], other['y'])).toBeGreaterThan(1e-3);
  });

  test.each<RewriteFileSettings>([{ init: 'preserve' }, { splitHeads: true }])(
    'behind the operator Attention, %j',
    async (settings) => {
      const nodes = ['k_heads', 'scores', 'scaled', 'softmax'].map((name) => line(name, FED));
      const text = nodes
        .reduce((now, each) => now.replace(`${each}\n`, ''), FED)
        .replace(line('attended'), '  ["attended"] C = Attention (Q, past_k, V)')
        .replace('"" : 17', '"" : 23')
        .replace('ir_version: 8', 'ir_version: 10');
      const { model, layers, found } = rewriteText(text, settings);
      expect(found.misses).toEqual([]);
      expect(layers).toHaveLength(1);
      const bytes = encode('ModelProto', save(model)).read();
      const original = await runModel(textBytes(text), feeds);
      const given = await runModel(bytes, doubledKeys(feeds, model, 'copies'));
      if (settings.init) expectClose(given, original, 1e-5);
      else expect(largestDifference(given['y'], original['y'])).toBeGreaterThan(1e-3);
    },
  );

  test('a single key head that all query heads read', () => {
    const single = variant(FED, [['float[B, 2, T, 4] past_k', 'float[B, 1, T, 4] past_k']]);
    const { model, layers } = rewriteText(single);
    expect(layers.map(({ kvHeads }) => kvHeads)).toEqual([1]);
    expect(declaredShape(valueNamed(model, 'past_k'))).toEqual(['B', 2, 'T', 4]);
  });

  test.each([
    ['heads that do not divide', 'float[B, 3, T, 4] past_k'],
    ['another width', 'float[B, 2, T, 5] past_k'],
    ['heads of unknown number', 'float[B, G, T, 4] past_k'],
  ])('%s: refused', (_, input) => {
    expect(missesOf(variant(FED, [['float[B, 2, T, 4] past_k', input]]))).toEqual([
      expect.stringContaining('cache'),
    ]);
  });

  test('a branch that shows other keys than those of a rewritten attention is refused, others beside it or not', () => {
    const [constants = ''] = ATTENTION.match(/ {2}float\[8, 8\].*?(?=\n> \{)/s) ?? [];
    const [nodes = ''] = ATTENTION.match(/(?<=> \{\n).*(?=\n\})/s) ?? [];
    const text = `g (float[B, S, 8] x, bool c, float[B, 2, T, 4] z) => (float[B, S, 8] out, float[B, 2, T, 4] keys) <
${constants}
> {
  out, keys = If (c) <
    then_branch: graph = yes () => (float[B, S, 8] y, float[B, 2, S, 4] shown) {
${nodes}
      shown = Transpose <perm = [0, 1, 3, 2]> (K)
    },
    else_branch: graph = no () => (float[B, S, 8] y2, float[B, 2, T, 4] shown2) {
      y2 = Identity (x)
      shown2 = Identity (z)
    }
  >
}`;
    const error = thrownBy(() => rewriteText(text, { allowPartial: true }));
    expect(error).toMatchObject({ code: 'half-a-cache', exitCode: 3 });
    expect(error.message).toContain("'shown2' of no");
    expect(rewriteText(text, { splitHeads: true }).layers).toHaveLength(1);
  });
});
