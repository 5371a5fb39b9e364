/**
 * Lowerings on the smallest graphs of every form: what a rewritten attention gives, against differential attention
 * computed in float64 from the maps and values of the model itself.
 */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import type { Model } from '../../src/ir';
import type { Fill } from '../../src/ir/text';
import {
  type Array64,
  array64,
  differentialAttention,
  lambdaOf,
  repeatHeads,
  splitDifferentialAttention,
} from '../../src/verify/reference';
import { decodeFloats } from '../../src/weights/floats';
import { type AttentionForm, forms, type StoredColumns } from '../support/attention-forms';
import { randomFill } from '../support/fixtures';
import { exposing, modelPath, textBytes } from '../support/models';
import { expectClose, floatTensor, numbersOf, runModel, type Tensor } from '../support/run';

const [B, S, E] = [2, 3, 8];
const EPSILON = 1e-3;
const x = floatTensor([B, S, E], randomFill(5)('x', B * S * E));

/** The numbers of a parameter that the rewrite added to the one attention there is. */
function parameter(model: Model, suffix: string): Float64Array {
  const tensor = model.graph.values.get(`layers.0.attn.${suffix}`)?.initializer;
  if (!tensor) throw new Error(`no ${suffix}`);
  return Float64Array.from(decodeFloats(tensor.dataType as 1, model.bytes(tensor)));
}

function lambdaIn(model: Model): number {
  const [lambda_q1, lambda_k1, lambda_q2, lambda_k2, init] = [
    'lambda_q1',
    'lambda_k1',
    'lambda_q2',
    'lambda_k2',
    'lambda_init',
  ].map((suffix) => parameter(model, suffix)) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  return lambdaOf({ lambda_q1, lambda_k1, lambda_q2, lambda_k2, lambda_init: init[0] ?? Number.NaN });
}

/** A filling in which queries and keys have the second weights of a rewritten model: it computes the second map. */
function secondFill(form: AttentionForm, model: Model): Fill {
  const first = randomFill(0);
  return (name, count) => {
    const values = Array.from(first(name, count));
    for (const [side, { weight, bias, columns, order, outFirst }] of [
      ['q', form.query],
      ['k', form.key],
    ] as const satisfies readonly (readonly [string, StoredColumns])[]) {
      if (name === weight) {
        const second = parameter(model, `${side}2_proj.weight`);
        order.forEach((column, row) => {
          for (let i = 0; i < E; i++)
            values[outFirst ? column * E + i : i * columns + column] = second[row * E + i] ?? 0;
        });
      } else if (name === bias) {
        const second = parameter(model, `${side}2_proj.bias`);
        order.forEach((column, row) => {
          values[column] = second[row] ?? 0;
        });
      }
    }
    return values;
  };
}

/** The numbers of a tensor whose heads stand anywhere, seen as [B, heads, rows, width]. */
function seen(tensor: Tensor | undefined, heads: number, width?: number): Array64 {
  const numbers = numbersOf(tensor);
  const last = width ?? tensor?.shape.at(-1) ?? 0;
  return array64([B, heads, numbers.length / (B * heads * last), last], numbers);
}

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
    expect(found.misses).toEqual([]);
    expect(found.sites).toMatchObject([
      { path: 'layers.0.attn', heads, kvHeads, headWidth: width, valueWidth: width },
    ]);
    expect([...(found.sites[0]?.query.columns ?? [])]).toEqual(form.query.order);
    expect([...(found.sites[0]?.key.columns ?? [])]).toEqual(form.key.order);
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
    const A1_BHST = seen(original[values.A ?? ''], heads);
    const V_BGTD = seen(original[values.V], valueHeads(original[values.V]));
    let expected: Array64;
    if (settings.splitHeads) {
      expected = splitDifferentialAttention({ ...parameters, A_BHST: A1_BHST, V_BGTD, pairing: 'halves' });
    } else {
      const negative = textBytes(text, secondFill(form, output.model));
      const A2_BHST = seen((await valuesOf(negative, names))[values.A ?? ''], heads);
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
  if (form.splitFails) test.failing.each(split)('%j', check);
  else if (kvHeads % 2 === 0) test.each(split)('%j', check);

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
