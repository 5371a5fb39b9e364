/**
 * Lowerings on the smallest graphs of every form: what a rewritten attention gives, against differential attention
 * computed in float64 from the maps and values of the model itself.
 */

import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { projectedSides } from '../../src/attention/site';
import {
  type Array64,
  differentialAttention,
  repeatHeads,
  splitDifferentialAttention,
} from '../../src/verify/reference';
import { forms } from '../support/attention-forms';
import { randomFill } from '../support/fixtures';
import { inWords } from '../support/found';
import { exposing, modelPath, textBytes } from '../support/models';
import { asHeads, lambdaIn, secondFill } from '../support/reference';
import { expectClose, floatTensor, numbersOf, runModel, type Tensor } from '../support/run';

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
].flatMap((settings) => [settings, { ...settings, emit: 'inline' }]);

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
    const output = rewriteModel(path, { ...settings, seed: 3 });
    const lambda = lambdaIn(output.model);
    const names = [values.A ?? '', values.V, values.C];
    const [original, rewritten] = await Promise.all([
      valuesOf(textBytes(text), names),
      valuesOf(rewrittenBytes(output).read(), [values.C]),
    ]);
    const parameters = {
      lambda,
      mix: 1,
      norm: settings.sublayerNorm === false ? undefined : { eps: EPSILON },
      timesOneMinusLambdaInit: undefined,
      gain: 1,
    };
    const A1_BHST = asHeads(original[values.A ?? ''], B, heads);
    const V_BGTD = asHeads(original[values.V], B, valueHeads(original[values.V]));
    let expected: Array64;
    if (settings.splitHeads) {
      expected = splitDifferentialAttention({ ...parameters, A_BHST: A1_BHST, V_BGTD, pairing: 'halves' });
    } else {
      const negative = textBytes(text, secondFill(form, output.model, E));
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
  const [duplicate, split] = [
    modes.filter(({ splitHeads }) => !splitHeads),
    modes.filter(({ splitHeads }) => splitHeads),
  ];
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

  test.each([{ init: 'zero', sublayerNorm: false }, { init: 'preserve' }])(
    '%j keeps the function',
    async (settings) => {
      const rewritten = rewrittenBytes(rewriteModel(path, settings)).read();
      expectClose(await valuesOf(rewritten, ['y']), await valuesOf(textBytes(text), ['y']), 1e-5);
    },
  );
});
