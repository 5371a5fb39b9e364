/** Names that a rewrite adds, where the user's model has them already. */
import { type RewriteFileSettings, rewrittenBytes } from '../../src/api/rewrite';
import { checkInvariants } from '../../src/ir';
import { ATTENTION, line, variant } from '../support/attention-text';
import { randomFill } from '../support/fixtures';
import { rewriteText, textBytes } from '../support/models';
import { expectClose, floatTensor, runModel } from '../support/run';

const x = floatTensor([2, 3, 8], randomFill(5)('x', 48));

test('parameters have the names of SPEC section 2, the node is called by what it is', () => {
  const { model, layers } = rewriteText(ATTENTION);
  const names = [...model.graph.values.keys()].filter((name) => /^layers\.0\.attn\.[\w.]+$/.test(name));
  expect(names.sort()).toEqual(
    [
      'k2_proj.weight',
      'k_proj.weight',
      'lambda_init',
      'lambda_k1',
      'lambda_k2',
      'lambda_q1',
      'lambda_q2',
      'o_proj.weight',
      'q2_proj.weight',
      'q_proj.weight',
      'subln.weight',
      'v_proj.weight',
    ].map((name) => `layers.0.attn.${name}`),
  );
  expect(layers).toMatchObject([
    { node: 'layers.0.attn/DifferentialAttention', form: 'scores', output: 'C' },
  ]);
  const node = model.graph.nodes.find(({ name }) => name === layers[0]?.node);
  expect(node?.operator).toBe('ai.diffx.DifferentialAttention');
  // its inputs read like the definition
  expect(node?.inputs.map((input) => input?.name).slice(-6)).toEqual(
    ['lambda_q1', 'lambda_k1', 'lambda_q2', 'lambda_k2', 'lambda_init', 'subln.weight'].map(
      (name) => `layers.0.attn.${name}`,
    ),
  );
});

/** A model in which everything that a rewrite would like to call something is called so already. */
const TAKEN = variant(ATTENTION, [
  [
    '  float scale',
    `  float[4] "layers.0.attn.lambda_q1" = {9, 9, 9, 9},
  float "layers.0.attn.lambda_init" = {9},
  float[8, 8] "layers.0.attn.q2_proj.weight" = {...},
  float scale`,
  ],
  [
    line('o_proj'),
    `${line('o_proj')}
  ["layers.0.attn/DifferentialAttention"] "layers.0.attn/DifferentialAttention_output_0" = Identity (y)
  ["q2_proj/MatMul"] "C/original" = Neg (y)
  ["layers.0.attn/Split"] "q_BSHD/negative" = Identity ("layers.0.attn.lambda_q1")`,
  ],
]);

const modes: readonly RewriteFileSettings[] = [
  { init: 'preserve' },
  { init: 'preserve', emit: 'inline' },
  { init: 'zero', sublayerNorm: false, mixInput: true },
];

test.each(modes)('%j: taken names are left alone, and the function is kept', async (settings) => {
  const output = rewriteText(TAKEN, settings);
  expect(checkInvariants(output.model)).toEqual([]);
  const bytes = rewrittenBytes(output).read();
  const feeds = settings.mixInput ? { x, diff_attn_mix: floatTensor([], [0.7]) } : { x };
  expectClose(await runModel(bytes, feeds), await runModel(textBytes(TAKEN), { x }), 1e-5);
  const kept = output.model.graph.values.get('layers.0.attn.lambda_q1')?.initializer;
  expect(kept && [...new Float32Array(new Uint8Array(output.model.bytes(kept)).buffer)]).toEqual([
    9, 9, 9, 9,
  ]);
});

test.each(modes)('%j: split heads too', async (settings) => {
  const { init: _init, ...rest } = settings;
  const output = rewriteText(TAKEN, { ...rest, splitHeads: true });
  expect(checkInvariants(output.model)).toEqual([]);
  const feeds = settings.mixInput ? { x, diff_attn_mix: floatTensor([], [0.7]) } : { x };
  expect(Object.keys(await runModel(rewrittenBytes(output).read(), feeds))).toEqual(['y']);
});

test('a constant of the user is not taken for one of diffx', async () => {
  const text = variant(ATTENTION, [
    ['  float scale', '  int64[2] "ai.diffx/int64/1_1" = {5, 5},\n  float scale'],
  ]);
  const bytes = rewrittenBytes(rewriteText(text, { splitHeads: true })).read();
  expect(Object.keys(await runModel(bytes, { x }))).toEqual(['y']);
});
