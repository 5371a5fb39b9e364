/**
 * Caches that hold more heads than the model projects: key heads are repeated for the query heads that share them before
 * they are cached, as Falcon's newer decoders do. Both components do so.
 */
import { rewriteModel, rewrittenBytes, writeRewritten } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { declaredShape } from '../../src/ir';
import { scopesFixture, temporaryFolder } from '../support/fixtures';
import { doubledKeys } from '../support/key-cache';
import {
  expectClose,
  floatTensor,
  intTensor,
  readTensors,
  runModel,
  type Tensor,
  type Tensors,
} from '../support/run';
import { findingsOf } from '../verify/support/pairs';

const model = scopesFixture('falcon_new-past-ts17-sdpa.onnx');
const inputs = readTensors(scopesFixture('falcon_new-past-ts17-sdpa.io.safetensors'), 'input.');

/** Elements `from` up to `to` of axis 1 of [B, S] or [B, S, E]. */
function part({ shape, data }: Tensor, from: number, to: number): Tensor {
  const [batch = 0, length = 0, width = 1] = shape;
  const rows = Array.from({ length: batch }, (_, row) =>
    Array.from<number | bigint, number>(
      data.slice((row * length + from) * width, (row * length + to) * width),
      Number,
    ),
  );
  const sizes = [batch, to - from, ...shape.slice(2)];
  return data instanceof Float32Array ? floatTensor(sizes, rows.flat()) : intTensor(sizes, rows.flat());
}

test('all four heads are cached, twice', () => {
  const { layers, model: rewritten } = rewriteModel(model);
  expect(layers.map(({ heads, kvHeads }) => [heads, kvHeads])).toEqual([
    [4, 2],
    [4, 2],
  ]);
  const heads = [...rewritten.graph.inputs, ...rewritten.graph.outputs].flatMap((value) =>
    /^(past|present).*key$/.test(value.name) ? [declaredShape(value)?.[1]] : [],
  );
  expect(heads).toEqual([8, 8, 8, 8]);
});

test('decoding in steps equals one pass', async () => {
  const output = rewriteModel(model, { seed: 5 });
  const bytes = rewrittenBytes(output).read();
  const feeds = doubledKeys(inputs, output.model, 'random');
  const [ids, mask, positions] = ['input_ids', 'attention_mask', 'position_ids'].map((name) => feeds[name]);
  if (!ids || !mask || !positions) throw new Error('no inputs');
  const whole = await runModel(bytes, feeds);
  const length = ids.shape[1] ?? 0;
  const before = (mask.shape[1] ?? 0) - length;
  let cached: Tensors = feeds;
  for (let at = 0; at < length; ) {
    const to = at === 0 ? 3 : at + 1;
    const given = await runModel(bytes, {
      ...cached,
      input_ids: part(ids, at, to),
      position_ids: part(positions, at, to),
      attention_mask: part(mask, 0, before + to),
    });
    const { logits } = given;
    if (!logits || !whole['logits']) throw new Error('no logits');
    expectClose({ logits }, { logits: part(whole['logits'], at, to) }, 2e-5);
    cached = Object.fromEntries(
      Object.entries(given).map(([name, tensor]) => [name.replace('present', 'past_key_values'), tensor]),
    );
    at = to;
  }
});

test('verified', async () => {
  const target = `${temporaryFolder()}/falcon.onnx`;
  writeRewritten(rewriteModel(model), target, true);
  expect(findingsOf(await verifyModels(model, target))).toEqual([]);
});
