/**
 * Lowerings on the smallest graphs of every form: what a rewritten attention gives, against differential attention
 * computed in float64 from the maps and values of the model itself.
 */

import { join } from 'node:path';
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { projectedSides } from '../../src/attention/site';
import {
  type Array64,
  array64,
  differentialAttention,
  repeatHeads,
  splitDifferentialAttention,
  storedHeads,
} from '../../src/verify/reference';
import { forms } from '../support/attention-forms';
import { randomFill, temporaryFolder } from '../support/fixtures';
import { inWords } from '../support/found';
import { exposing, modelPath, textBytes } from '../support/models';
import { asHeads, lambdaIn, secondFill } from '../support/reference';
import {
  expectClose,
  floatTensor,
  numbersOf,
  runModel,
  type Tensor,
  type Tensors,
  writeTensors,
} from '../support/run';

const [B, S, E] = [2, 3, 8];
const EPSILON = 1e-3;
const x = floatTensor([B, S, E], randomFill(5)('x', B * S * E));

async function valuesOf(model: Uint8Array, names: readonly string[]) {
  const input = model.length > 0 && Buffer.from(model).includes('x_BSE') ? 'x_BSE' : 'x';
  return runModel(exposing(model, names), { [input]: x }, { outputs: [...names] });
}

const modes: readonly RewriteFileSettings[] = [
  { sublayerNorm: false },
  { normEps: EPSILON },
  { splitHeads: true, sublayerNorm: false },
  { splitHeads: true, normEps: EPSILON },
  { preset: 'paper', normEps: EPSILON },
  { preset: 'diffllama', normEps: EPSILON },
  { preset: 'v2' },
].flatMap((settings) => [settings, { ...settings, emit: 'inline' }]);

const isSplit = ({ splitHeads, preset }: RewriteFileSettings) =>
  splitHeads === true || preset === 'paper' || preset === 'diffllama';

let files = 0;
function checkpoint(tensors: Tensors): string {
  const file = join(temporaryFolder(), `lambda-${files++}.safetensors`);
  writeTensors(file, tensors);
  return file;
}

/** sigmoid(x W), [B, heads, S, 1]. */
function lambdaPerToken(W: Tensor, layerInput: Tensor): Array64 {
  const [heads = 0] = W.shape;
  const tokens = layerInput === x ? S : (layerInput.shape[1] ?? 0);
  const [weights, input] = [numbersOf(W), numbersOf(layerInput)];
  const lambda = Array.from({ length: B * heads * tokens }, (_, i) => {
    const [token, head] = [i % tokens, Math.floor(i / tokens) % heads];
    const batch = Math.floor(i / (tokens * heads));
    let logit = 0;
    for (let e = 0; e < E; e++)
      logit += (input[(batch * tokens + token) * E + e] ?? 0) * (weights[head * E + e] ?? 0);
    return 1 / (1 + Math.exp(-logit));
  });
  return array64([B, heads, tokens, 1], lambda);
}

describe.each(forms)('$what', (form) => {
  const { text, heads, kvHeads, width, values } = form;
  const path = modelPath(textBytes(text));

  test('is found, with heads and widths from the data flow alone', () => {
    const { found } = rewriteModel(path);
    expect(inWords(found)).toEqual({ sites: [`layers.0.attn: ${heads}/${kvHeads} x ${width}`], misses: [] });
    const [query, key] = found.sites[0] ? projectedSides(found.sites[0]) : [];
    expect([...(query?.columns ?? [])]).toEqual(form.query.order);
    expect([...(key?.columns ?? [])]).toEqual(form.key.order);
  });

  const check = async (settings: RewriteFileSettings) => {
    const { preset = 'axolotl' } = settings;
    const v2 = preset === 'v2';
    const W = floatTensor(
      [heads, E],
      randomFill(7)('W', heads * E).map((value) => 3 * value),
    );
    const weights = v2 ? { weights: checkpoint({ 'layers.0.attn.lambda_proj.weight': W }) } : {};
    const output = rewriteModel(path, { ...settings, ...weights, seed: 3 });
    const names = [values.A ?? '', values.V, values.C, ...(form.queryInput ? [form.queryInput] : [])];
    const [original, rewritten] = await Promise.all([
      valuesOf(textBytes(text), names),
      valuesOf(rewrittenBytes(output).read(), [values.C]),
    ]);
    const layerInput = original[form.queryInput ?? ''] ?? x;
    const parameters = {
      lambda: v2 ? lambdaPerToken(W, layerInput) : lambdaIn(output.model),
      mix: 1,
      norm: v2 || settings.sublayerNorm === false ? undefined : { eps: EPSILON },
      // The first layer.
      timesOneMinusLambdaInit: preset === 'paper' || preset === 'diffllama' ? 0.2 : undefined,
      gain: 1,
    };
    const A1_BHST = asHeads(original[values.A ?? ''], B, heads);
    const V_BGTD = asHeads(original[values.V], B, valueHeads(original[values.V]));
    let expected: Array64;
    if (isSplit(settings)) {
      const pairing = preset === 'paper' ? 'adjacent' : 'halves';
      const stored = storedHeads(V_BGTD, kvHeads);
      expected = splitDifferentialAttention({ ...parameters, A_BHST: A1_BHST, V_BGTD: stored, pairing });
    } else {
      const second = v2 ? { query: form.query } : form;
      const negative = textBytes(text, secondFill(second, output.model, E));
      const A2_BHST = asHeads((await valuesOf(negative, names))[values.A ?? ''], B, heads);
      expected = differentialAttention({
        ...parameters,
        A1_BHST,
        A2_BHST,
        V_BHTD: repeatHeads(V_BGTD, heads),
      });
    }
    const C = rewritten[values.C];
    expect(C?.shape).toEqual(original[values.C]?.shape);
    expectClose({ C: C as Tensor }, { C: floatTensor(C?.shape ?? [], expected.data) }, 1e-5);
  };
  const [duplicate, split] = [modes.filter((settings) => !isSplit(settings)), modes.filter(isSplit)];
  test.each(duplicate)('%j', check);
  if (kvHeads % 2 === 0) test.each(split)('%j', check);

  /** How many heads a tensor of values has: what is left beside batch, rows and width. */
  function valueHeads(tensor: Tensor | undefined): number {
    return numbersOf(tensor).length / (B * S * width);
  }

  if (kvHeads % 2 === 1) {
    test('cannot be split: exit code 2, with both numbers of heads', () => {
      expect(() => rewriteModel(path, { splitHeads: true })).toThrow(
        `layers.0.attn: cannot split ${heads} heads with ${kvHeads} key/value heads into halves`,
      );
    });
  }

  test.each([
    { init: 'zero', sublayerNorm: false },
    { init: 'preserve' },
    { preset: 'v2', init: 'preserve' },
  ])('%j keeps the function', async (settings) => {
    const rewritten = rewrittenBytes(rewriteModel(path, settings)).read();
    expectClose(await valuesOf(rewritten, ['y']), await valuesOf(textBytes(text), ['y']), 1e-5);
  });
});
