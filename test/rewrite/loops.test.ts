/** Attention in the body of a loop whose state is a key cache: split heads leave it alone, second heads are refused. */
import { rewriteModel, writeRewritten } from '../../src/api/rewrite';
import { verifyModels } from '../../src/api/verify';
import { ATTENTION, line, variant } from '../support/attention-text';
import { randomFill, temporaryFolder } from '../support/fixtures';
import { modelPath, rewriteText, rewriteToBytes, textBytes, thrownBy } from '../support/models';
import { expectClose, floatTensor, runModel } from '../support/run';
import { findingsOf } from '../verify/support/pairs';

const [constants = ''] = ATTENTION.match(/ {2}float\[8, 8\].*?(?=\n> \{)/s) ?? [];
const cached = variant(ATTENTION, [
  [
    line('k_heads'),
    '  ["k_new"] K_new = Transpose <perm = [0, 2, 1, 3]> (k_BSHD)\n  ["k_all"] K_all = Concat <axis = 2> (past_k, K_new)\n  ["k_heads"] K = Transpose <perm = [0, 1, 3, 2]> (K_all)',
  ],
]);
const nodesOf = (text: string) => text.match(/(?<=> \{\n).*(?=\n\})/s)?.[0] ?? '';
const values = '  V_all = Concat <axis = 2> (past_v, V)\n';
const body = nodesOf(cached).replace(line('attended'), `${values}  ["attended"] C = MatMul (A, V_all)`);

/** Two rounds; the caches grow from round to round, and what is left of them is shown. */
const CARRIED = `<ir_version: 8, opset_import: ["" : 17]>
g (float[B, S, 8] x0, float[B, 2, P, 4] k0, float[B, 2, P, 4] v0)
  => (float[B, S, 8] out, float[B, 2, T, 4] k_end, float[B, 2, T, 4] v_end) <
${constants},
  int64 trips = {2},
  bool yes = {1}
> {
  ["loop"] out, k_end, v_end = Loop (trips, yes, x0, k0, v0) <
    body: graph = round (int64 i, bool go, float[B, S, 8] x, float[B, 2, L, 4] past_k, float[B, 2, L, 4] past_v)
      => (bool go_out, float[B, S, 8] y, float[B, 2, M, 4] K_all, float[B, 2, M, 4] V_all) {
      go_out = Identity (go)
${body}
    }
  >
}`;

/** The keys of each round, stacked by the loop. */
const STACKED = `<ir_version: 8, opset_import: ["" : 17]>
g (float[B, S, 8] x0) => (float[B, S, 8] out, float[R, B, 2, 4, S] keys) <
${constants},
  int64 trips = {2},
  bool yes = {1}
> {
  ["loop"] out, keys = Loop (trips, yes, x0) <
    body: graph = round (int64 i, bool go, float[B, S, 8] x) => (bool go_out, float[B, S, 8] y, float[B, 2, 4, S] K) {
      go_out = Identity (go)
${nodesOf(ATTENTION)}
    }
  >
}`;

describe.each([
  ['caches that a loop carries', CARRIED],
  ['keys that a loop stacks', STACKED],
])('%s', (_, text) => {
  test('second heads: refused with the reason', () => {
    const error = thrownBy(() => rewriteText(text));
    expect(error).toMatchObject({ code: 'unrewritten', exitCode: 3 });
    expect(error.message).toMatch(/cache at '(k_all|loop)'/);
  });
});

test('split heads: two rounds of a loop are two runs of its body', async () => {
  const settings = { splitHeads: true, seed: 6 };
  const once = `<ir_version: 8, opset_import: ["" : 17]>
g (float[B, S, 8] x, float[B, 2, L, 4] past_k, float[B, 2, L, 4] past_v)
  => (float[B, S, 8] y, float[B, 2, M, 4] K_all, float[B, 2, M, 4] V_all) <
${constants}
> {
${body}
}`;
  const random = (name: string, shape: readonly number[]) =>
    floatTensor(
      shape,
      randomFill(8)(
        name,
        shape.reduce((all, size) => all * size, 1),
      ),
    );
  const start = {
    x: random('x', [2, 3, 8]),
    past_k: random('k', [2, 2, 4, 4]),
    past_v: random('v', [2, 2, 4, 4]),
  };
  const step = rewriteToBytes(modelPath(textBytes(once)), settings);
  const first = await runModel(step, start);
  const { y, K_all, V_all } = first;
  if (!y || !K_all || !V_all) throw new Error('no outputs');
  const second = await runModel(step, { x: y, past_k: K_all, past_v: V_all });
  const loop = rewriteToBytes(modelPath(textBytes(CARRIED)), settings);
  const given = await runModel(loop, { x0: start.x, k0: start.past_k, v0: start.past_v });
  const { out, k_end, v_end } = given;
  if (!out || !k_end || !v_end) throw new Error('no outputs');
  expectClose({ y: out, K_all: k_end, V_all: v_end }, second, 1e-5);
});

test('keys that a loop stacks, split heads: verified', async () => {
  const source = modelPath(textBytes(STACKED));
  const target = `${temporaryFolder()}/loop.onnx`;
  writeRewritten(rewriteModel(source, { splitHeads: true }), target, true);
  expect(findingsOf(await verifyModels(source, target))).toEqual([]);
});
