/**
 * Operators of ONNX Runtime that take queries, keys and values as one tensor. GroupQueryAttention is what exporters of
 * language models write; a packed MultiHeadAttention does not run on the CPU, so the model with separate inputs is run.
 */

import { passes } from '../../passes';
import { type RewriteFileSettings, rewriteModel, writeRewritten } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { declaredShape, load, save } from '../../src/ir';
import { encode, readModel } from '../../src/onnx';
import { prepare } from '../../src/rewrite/prepare';
import { randomFill, temporaryFolder } from '../support/fixtures';
import { doubledKeys } from '../support/key-cache';
import { modelPath, rewriteText, textBytes, textModel } from '../support/models';
import { expectClose, floatTensor, runModel, type Tensor, type Tensors, writeTensors } from '../support/run';
import { findingsOf } from '../verify/support/pairs';

const HEAD = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>';

/** Four query heads and two key heads of width 16, with a cache, rotary positions and one packed projection. */
const GROUPED = `${HEAD}
g (float[B, S, 8] x, float[B, 2, P, 16] past_k, float[B, 2, P, 16] past_v, int32[B] seqlens, int32[1] total)
  => (float[B, S, 8] y, float[B, 2, T, 16] present_k, float[B, 2, T, 16] present_v) <
  float[8, 128] "layers.0.attn.qkv_proj.weight" = {...},
  float[64, 8] "layers.0.attn.o_proj.weight" = {...},
  float[32, 8] cos = {...},
  float[32, 8] sin = {...}
> {
  ["qkv_proj"] qkv = MatMul (x, "layers.0.attn.qkv_proj.weight")
  ["attention"] a, present_k, present_v = com.microsoft.GroupQueryAttention
    <num_heads = 4, kv_num_heads = 2, do_rotary = 1> (qkv, , , past_k, past_v, seqlens, total, cos, sin)
  ["o_proj"] y = MatMul (a, "layers.0.attn.o_proj.weight")
}`;

const numbers = (name: string, shape: readonly number[]) =>
  floatTensor(
    shape,
    randomFill(7)(
      name,
      shape.reduce((all, size) => all * size, 1),
    ),
  );

/** Tokens `from` up to `to` of five, behind what was cached; key heads of the cache as they are given. */
const feedsOf = (from: number, to: number, pasts: Tensors): Tensors => ({
  x: slice(numbers('x', [1, 5, 8]), from, to),
  ...pasts,
  seqlens: { dtype: 6, shape: [1], data: Int32Array.of(to - 1) },
  total: { dtype: 6, shape: [1], data: Int32Array.of(to) },
});

function slice({ shape, data }: Tensor, from: number, to: number): Tensor {
  const [, , width = 0] = shape;
  return floatTensor([1, to - from, width], data.slice(from * width, to * width) as Float32Array);
}

describe('GroupQueryAttention', () => {
  const empty = { past_k: floatTensor([1, 2, 0, 16], []), past_v: floatTensor([1, 2, 0, 16], []) };

  test('is found with the heads of its operator, and its cache holds twice the key heads', () => {
    const { layers, model } = rewriteText(GROUPED);
    expect(layers).toMatchObject([{ path: 'layers.0.attn', heads: 4, kvHeads: 2, headWidth: 16 }]);
    const shapes = model.graph.inputs.map((input) => [input.name, declaredShape(input)?.[1]]);
    expect(shapes).toEqual(
      expect.arrayContaining([
        ['past_k', 4],
        ['past_v', 2],
      ]),
    );
  });

  // Else ONNX Runtime takes it to be as long as the past, and on WebGPU writes it where the past was.
  test.each<[RewriteFileSettings, string]>([
    [{}, 'negative'],
    [{ splitHeads: true }, 'exchanged'],
  ])('%j: what both calls cache is declared as long as the model says', (settings, second) => {
    const rewritten = encode('ModelProto', save(rewriteText(GROUPED, settings).model)).read();
    const model = load(readModel(modelPath(rewritten)));
    const calls = model.graph.nodes.filter(({ opType }) => opType === 'GroupQueryAttention');
    expect(calls.map(({ name }) => name)).toEqual(['attention', `attention/${second}`]);
    for (const { outputs } of calls)
      for (const cached of outputs.slice(1))
        expect(cached && declaredShape(cached)).toEqual(['B', 2, 'T', 16]);
  });

  test.each<RewriteFileSettings>([{ init: 'preserve' }, { init: 'zero', sublayerNorm: false }])(
    '%j: keeps the function',
    async (settings) => {
      const { model } = rewriteText(GROUPED, settings);
      const bytes = encode('ModelProto', save(model)).read();
      const feeds = feedsOf(0, 5, empty);
      const { y } = await runModel(textBytes(GROUPED), feeds);
      const given = await runModel(bytes, doubledKeys(feeds, model, 'copies'));
      if (!y) throw new Error('no output');
      expectClose({ y: given['y'] as Tensor }, { y }, 1e-5);
    },
  );

  test.each<RewriteFileSettings>([{ seed: 2 }, { splitHeads: true, sublayerNorm: false }])(
    '%j: decoding token by token equals one pass',
    async (settings) => {
      const { model } = rewriteText(GROUPED, settings);
      const bytes = encode('ModelProto', save(model)).read();
      const start = doubledKeys(empty, model, 'copies');
      const { y } = await runModel(bytes, feedsOf(0, 5, start));
      let pasts: Tensors = start;
      const parts: number[] = [];
      for (let at = 0; at < 5; at++) {
        const given = await runModel(bytes, feedsOf(at, at + 1, pasts));
        pasts = { past_k: given['present_k'] as Tensor, past_v: given['present_v'] as Tensor };
        parts.push(...((given['y']?.data ?? []) as Float32Array));
      }
      if (!y) throw new Error('no output');
      expectClose({ y: floatTensor([1, 5, 8], parts) }, { y }, 1e-5);
    },
  );

  test.each<RewriteFileSettings>([{}, { splitHeads: true }])('%j: verified', async (settings) => {
    const source = modelPath(textBytes(GROUPED));
    const target = `${temporaryFolder()}/grouped.onnx`;
    writeRewritten(rewriteModel(source, settings), target, true);
    const inputs = `${temporaryFolder()}/grouped.safetensors`;
    writeTensors(inputs, feedsOf(0, 5, empty));
    const report = await verifyModels(source, target, { inputs });
    expect(findingsOf(report)).toEqual([]);
    expect(report.checks.map(({ name }) => name)).toContain('prepared');
  });

  test('of unknown width: refused, and the model stays as it was', () => {
    const text = GROUPED.replace('float[8, 128] "layers', 'float[8, 126] "layers');
    const model = textModel(text);
    expect(prepare(model, passes)).toEqual([]);
    expect(() => rewriteText(text)).toThrow(/operator-form/);
  });
});

describe('MultiHeadAttention', () => {
  const separate = (inputs: string) => `${HEAD}
g (float[B, S, 8] x, float[B, T, 8] z) => (float[B, S, 8] y) <
  float[8, 8] "layers.0.attn.q_proj.weight" = {...},
  float[8, 8] "layers.0.attn.k_proj.weight" = {...},
  float[8, 8] "layers.0.attn.v_proj.weight" = {...},
  int64[5] four = {0, 0, 2, 1, 4}
> {
  q = MatMul (x, "layers.0.attn.q_proj.weight")
  k = MatMul (z, "layers.0.attn.k_proj.weight")
  v = MatMul (z, "layers.0.attn.v_proj.weight")
  q_BSHPD = Reshape (q, four)
  k_BSHPD = Reshape (k, four)
  v_BSHPD = Reshape (v, four)
  qkv = Concat <axis = 3> (q_BSHPD, k_BSHPD, v_BSHPD)
  kv = Concat <axis = 3> (k_BSHPD, v_BSHPD)
  y = com.microsoft.MultiHeadAttention <num_heads = 2> (${inputs})
}`;
  const x = numbers('x', [2, 3, 8]);

  test.each([
    ['queries, keys and values', 'qkv', x],
    ['keys and values', 'q, kv', numbers('z', [2, 3, 8])],
  ])('packed %s: computes what separate inputs do', async (_, inputs, z) => {
    const model = textModel(separate(inputs));
    expect(prepare(model, passes)).toHaveLength(1);
    const bytes = encode('ModelProto', save(model)).read();
    const expected = await runModel(textBytes(separate('q, k, v')), { x, z });
    expectClose(await runModel(bytes, { x, z }), expected, 0);
  });
});

test('operators with inputs of their own are left alone', () => {
  const file = modelPath(textBytes(GROUPED.replace('(qkv, , ,', '(qkv, qkv, qkv,')));
  expect(prepare(load(readModel(file)), passes)).toEqual([]);
});

// The past is cut into its halves: ONNX Runtime would let the first call write where a half is.
test('what a call caches is as long as it is, where the model does not say how long', async () => {
  const silent = GROUPED.replace(', float[B, 2, T, 16] present_k', '').replace(/\bpresent_k\b/g, 'cached_k');
  const { model } = rewriteText(silent.replace('y = MatMul', 'count = Shape (cached_k)\n y = MatMul'), {
    init: 'preserve',
  });
  const bytes = encode('ModelProto', save(model)).read();
  const past = (name: string) => numbers(name, [1, 2, 2, 16]);
  const pasts = { past_k: past('k'), past_v: past('v') };
  const expected = await runModel(textBytes(silent), feedsOf(2, 5, pasts));
  const doubled = doubledKeys(pasts, model, 'copies');
  expectClose(await runModel(bytes, feedsOf(2, 5, doubled)), expected, 1e-5);
});
