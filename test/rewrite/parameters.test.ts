/** SPEC section 1: initial values of what is new, by init mode. */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { load } from '../../src/ir';
import { DataType, parseModel } from '../../src/onnx';
import { lambdaInit } from '../../src/verify/reference';
import { forms } from '../support/attention-forms';
import { ATTENTION } from '../support/attention-text';
import { openExport } from '../support/fixtures';
import { modelPath, rewriteText, textBytes } from '../support/models';
import { lambdaIn, parameter } from '../support/reference';

const of = (settings: RewriteFileSettings, text = ATTENTION) => {
  const { model } = rewriteText(text, settings);
  return (suffix: string) => [...parameter(model, suffix)];
};

const packed = forms.find(({ what }) => what === 'packed and interleaved, [h, 3, d]');
if (!packed) throw new Error('no packed form');

describe('random', () => {
  const llama = rewriteModel(openExport('llama-dec-ts17-sdpa').model).model;
  const all = (suffix: RegExp) =>
    [...llama.graph.values].flatMap(([name, { initializer }]) =>
      initializer && suffix.test(name)
        ? [...new Float32Array(new Uint8Array(llama.bytes(initializer)).buffer)]
        : [],
    );

  test('second projections are uniform within 1 / sqrt(in)', () => {
    const weights = all(/2_proj\.weight$/);
    const bound = 1 / Math.sqrt(32);
    expect(weights).toHaveLength(2 * (32 + 16) * 32);
    expect(Math.max(...weights.map(Math.abs))).toBeLessThanOrEqual(bound);
    const mean = weights.reduce((sum, w) => sum + w, 0) / weights.length;
    const variance = weights.reduce((sum, w) => sum + (w - mean) ** 2, 0) / weights.length;
    expect(Math.abs(mean)).toBeLessThan(bound / 20);
    expect(Math.sqrt(variance)).toBeCloseTo(bound / Math.sqrt(3), 2);
  });

  test('their biases are 0', () => {
    const biased = of({}, packed.text);
    expect(new Set([...biased('q2_proj.bias'), ...biased('k2_proj.bias')])).toEqual(new Set([0]));
  });

  test('lambda vectors are normal with standard deviation 0.1', () => {
    const lambdas = all(/lambda_[qk][12]$/);
    expect(lambdas).toHaveLength(2 * 4 * 8);
    const variance = lambdas.reduce((sum, value) => sum + value ** 2, 0) / lambdas.length;
    expect(Math.sqrt(variance)).toBeGreaterThan(0.07);
    expect(Math.sqrt(variance)).toBeLessThan(0.13);
  });

  test('lambda_init is that of the depth, and norm weights are 1', () => {
    for (const depth of [0, 1]) {
      const path = `m.model.layers.${depth}.self_attn`;
      expect(parameter(llama, 'lambda_init', path)[0]).toBe(Math.fround(lambdaInit(depth)));
      expect([...parameter(llama, 'subln.weight', path)]).toEqual(Array(8).fill(1));
    }
  });
});

test('zero: everything is 0, lambda_init too', () => {
  const value = of({ init: 'zero', sublayerNorm: false });
  for (const suffix of [
    'q2_proj.weight',
    'k2_proj.weight',
    'lambda_q1',
    'lambda_k1',
    'lambda_q2',
    'lambda_k2',
    'lambda_init',
  ]) {
    expect(new Set(value(suffix))).toEqual(new Set([0]));
  }
});

describe.each(['mirror', 'preserve'])('%s', (init) => {
  test.each(forms)('copies of the own projections, head by head: $what', (form) => {
    const { model } = rewriteModel(modelPath(textBytes(form.text)), { init });
    const source = load(parseModel(textBytes(form.text)));
    const numbers = (name: string) => {
      const tensor = source.graph.values.get(name)?.initializer;
      return tensor ? [...new Float32Array(new Uint8Array(source.bytes(tensor)).buffer)] : [];
    };
    for (const [side, { weight, bias, columns, order, outFirst }] of [
      ['q', form.query],
      ['k', form.key],
    ] as const) {
      const own = numbers(weight);
      const rows = order.flatMap((column) =>
        Array.from(
          { length: 8 },
          (_, i) => own[outFirst ? column * 8 + i : i * columns + column] ?? Number.NaN,
        ),
      );
      expect([...parameter(model, `${side}2_proj.weight`)]).toEqual(rows);
      if (!bias) continue;
      const vector = numbers(bias);
      expect([...parameter(model, `${side}2_proj.bias`)]).toEqual(order.map((column) => vector[column]));
    }
  });
});

test('preserve: lambda begins at lambda_init, from vectors that are not 0', () => {
  const value = of({ init: 'preserve' });
  expect(value('lambda_q2')).toEqual(value('lambda_q1'));
  expect(value('lambda_k2')).toEqual(value('lambda_k1'));
  expect(value('lambda_q1')).not.toEqual(value('lambda_k1'));
  expect(Math.max(...value('lambda_q1').map(Math.abs))).toBeGreaterThan(0.01);
  expect(lambdaIn(rewriteText(ATTENTION, { init: 'preserve' }).model)).toBeCloseTo(lambdaInit(0), 6);
});

describe('split heads', () => {
  test('have norm weights of the width of a pair, and no second projections', () => {
    const { model } = rewriteText(ATTENTION, { splitHeads: true });
    expect([...parameter(model, 'subln.weight')]).toEqual(Array(8).fill(1));
    expect([...parameter(model, 'lambda_q1')]).toHaveLength(4);
    expect([...model.graph.values.keys()].filter((name) => name.includes('2_proj'))).toEqual([]);
  });

  test.each(forms.filter(({ kvHeads }) => kvHeads % 2 === 0))('mirrored: $what', (form) => {
    const { model } = rewriteModel(modelPath(textBytes(form.text)), { init: 'mirror', splitHeads: true });
    const source = load(parseModel(textBytes(form.text)));
    for (const { weight, columns, order, outFirst } of [form.query, form.key]) {
      const [before, after] = [source, model].map((each) => {
        const tensor = each.graph.values.get(weight)?.initializer;
        return tensor ? [...new Float32Array(new Uint8Array(each.bytes(tensor)).buffer)] : [];
      });
      const at = (column: number, i: number) => (outFirst ? column * 8 + i : i * columns + column);
      const half = order.length / 2;
      const expected = [...(before ?? [])];
      for (let row = 0; row < half; row++) {
        for (let i = 0; i < 8; i++) {
          expected[at(order[row + half] ?? 0, i)] = before?.[at(order[row] ?? 0, i)] ?? Number.NaN;
        }
      }
      // the negative heads hold what the positive ones hold; every other number is as it was
      if (form.query.weight !== form.key.weight) expect(after).toEqual(expected);
      for (let row = 0; row < half; row++) {
        for (let i = 0; i < 8; i++)
          expect(after?.[at(order[row + half] ?? 0, i)]).toBe(before?.[at(order[row] ?? 0, i)]);
      }
    }
  });
});

test('parameters of a float16 model: float16 where they meet its values, float32 for lambda', () => {
  const { model } = rewriteModel(openExport('llama-dec-ts17-sdpa+fp16').model);
  const type = (suffix: string) =>
    model.graph.values.get(`m.model.layers.0.self_attn.${suffix}`)?.initializer?.dataType;
  expect(['q2_proj.weight', 'k2_proj.weight', 'subln.weight'].map(type)).toEqual(
    Array(3).fill(DataType.FLOAT16),
  );
  expect(['lambda_q1', 'lambda_k2', 'lambda_init'].map(type)).toEqual(Array(3).fill(DataType.FLOAT));
});

test('what is written is what was planned', () => {
  const output = rewriteText(ATTENTION, { seed: 5 });
  const read = load(parseModel(rewrittenBytes(output).read()));
  for (const suffix of ['q2_proj.weight', 'lambda_q1', 'lambda_init', 'subln.weight']) {
    expect(parameter(read, suffix)).toEqual(parameter(output.model, suffix));
  }
});
