/**
 * SPEC section 5: decoding token by token equals one full pass, over 16 tokens, behind keys that are cached already, for two
 * sequences of which one is padded. Second weights are random: a key that is cached in the wrong half is seen.
 */
import { type RewriteFileSettings, rewriteModel, rewrittenBytes } from '../../src/api/rewrite';
import { declaredShape, load, type Model } from '../../src/ir';
import { readModel } from '../../src/onnx';
import { type Session, withSession } from '../../src/verify/session';
import { cacheNames, type Decoding, rowsOf, stepByStep, tokens } from '../support/decoding';
import { exportNames, openExport } from '../support/fixtures';
import { thrownBy } from '../support/models';
import {
  fittingFeeds,
  floatTensor,
  largestDifference,
  numbersOf,
  type Tensor,
  type Tensors,
} from '../support/run';

const names = exportNames().filter((name) => cacheNames(load(readModel(openExport(name).model))).size > 0);

/** ONNX Runtime's operator takes one sequence where it takes several tokens, and knows no mask. */
const sizesOf = (name: string): Decoding => {
  const inputs = load(readModel(openExport(name).model)).graph.inputs.map((input) => input.name);
  const masked = inputs.includes('attention_mask');
  return { batch: masked ? 2 : 1, past: 3, steps: 16, padding: masked ? 2 : 0 };
};

/** In the model's own rounding: float16 shows three digits. */
const toleranceOf = (name: string) => (name.endsWith('+fp16') ? 5e-3 : 1e-4);

/** Largest differences between one pass and one token after the other: of the logits, and of what is cached in the end. */
async function differences(session: Session, model: Model, sizes: Decoding): Promise<number> {
  const full = await session.run(fittingFeeds(session, tokens(model, sizes, [0, sizes.steps])));
  const steps = await stepByStep(session, model, sizes);
  const { logits } = full;
  if (!logits) throw new Error('no logits');
  const errors = steps.map((step, at) => largestDifference(rowsOf(logits, 1, at, at + 1), step['logits']));
  for (const present of cacheNames(model).values()) {
    errors.push(largestDifference(full[present], steps.at(-1)?.[present]));
  }
  return Math.max(...errors);
}

async function decode(model: Model, bytes: string | Uint8Array, sizes: Decoding): Promise<number> {
  return withSession(bytes, { threads: 1 }, (session) => differences(session, model, sizes));
}

function rewritten(name: string, settings: RewriteFileSettings) {
  const output = rewriteModel(openExport(name).model, settings);
  return { model: output.model, bytes: rewrittenBytes(output).read() };
}

/** Activations that are quantized by the largest of all tokens: a single token gets other steps. */
const DYNAMIC = names.filter((name) => name.endsWith('+int8'));

test('there are exports with caches, by two exporters and with ONNX Runtime’s operators', () => {
  expect(names.length).toBeGreaterThanOrEqual(44);
  expect(DYNAMIC).toEqual(['llama-past-dy18-sdpa+int8']);
});

test.each(DYNAMIC)('%s does not decode equally itself', async (name) => {
  const { model } = openExport(name);
  expect(await decode(load(readModel(model)), model, sizesOf(name))).toBeGreaterThan(0.05);
});

describe.each(names.filter((name) => !DYNAMIC.includes(name)))('%s', (name) => {
  const sizes = sizesOf(name);
  const tolerance = toleranceOf(name);

  test('duplicate heads', async () => {
    const { model, bytes } = rewritten(name, {});
    expect(await decode(model, bytes, sizes)).toBeLessThan(tolerance);
    const original = load(readModel(openExport(name).model));
    const heads = (each: Model, past: string) => Number(tokens(each, sizes, [0, 1])[past]?.shape[1]);
    for (const past of cacheNames(model).keys()) {
      const factor = past.endsWith('.key') ? 2 : 1;
      expect(heads(model, past)).toBe(factor * heads(original, past));
    }
  });

  test('v2: the cache is that of the original', async () => {
    const { model, bytes } = rewritten(name, { preset: 'v2' });
    expect(await decode(model, bytes, sizes)).toBeLessThan(tolerance);
    const original = load(readModel(openExport(name).model));
    const signature = ({ graph }: Model) =>
      [...graph.inputs, ...graph.outputs].map((value) => [value.name, declaredShape(value)]);
    expect(signature(model)).toEqual(signature(original));
  });

  test('split heads, or a refusal where all share a single key head', async () => {
    const { model: file } = openExport(name);
    const [past = ''] = cacheNames(load(readModel(file))).keys();
    if (tokens(load(readModel(file)), sizes, [0, 1])[past]?.shape[1] === 1) {
      expect(thrownBy(() => rewriteModel(file, { splitHeads: true }))).toMatchObject({ code: 'odd-heads' });
      return;
    }
    const { model, bytes } = rewritten(name, { splitHeads: true });
    expect(await decode(model, bytes, sizes)).toBeLessThan(tolerance);
  });
});

describe.each([
  'llama-past-dy18-sdpa',
  'gpt2-past-ts14-eager',
  'bloom-past-ts14-eager',
  'opt-past-dy23-sdpa',
])('%s: what is cached', (name) => {
  const sizes = sizesOf(name);
  const { model, bytes } = rewritten(name, {});
  const keys = [...cacheNames(model).keys()].filter((past) => past.endsWith('.key'));

  /** Logits of a token behind cached keys of which some are changed. */
  async function logits(change: (b: number, head: number, heads: number, row: number) => boolean) {
    return withSession(bytes, { threads: 1 }, async (session) => {
      const feeds = tokens(model, sizes, [0, 1]);
      const changed = Object.fromEntries(keys.map((key) => [key, moved(feeds, key, change)]));
      return (await session.run(fittingFeeds(session, { ...feeds, ...changed })))['logits'];
    });
  }
  const padded = (b: number, row: number) => b === sizes.batch - 1 && row < sizes.padding;

  test.each([
    ['positive', (head: number, heads: number) => head < heads / 2],
    ['negative', (head: number, heads: number) => head >= heads / 2],
  ])('%s keys matter, except behind padding', async (_half, chosen) => {
    const before = await logits(() => false);
    const all = await logits((_b, head, heads) => chosen(head, heads));
    const hidden = await logits((b, head, heads, row) => chosen(head, heads) && padded(b, row));
    expect(largestDifference(before, all)).toBeGreaterThan(1e-3);
    expect(largestDifference(before, hidden)).toBeLessThan(1e-6);
  });
});

/** A cache with other numbers in some rows. */
function moved(
  feeds: Tensors,
  name: string,
  change: (b: number, head: number, heads: number, row: number) => boolean,
): Tensor {
  const tensor = feeds[name];
  const [, heads = 0, rows = 0, width = 0] = tensor?.shape ?? [];
  const values = numbersOf(tensor).map((value, at) => {
    const row = Math.floor(at / width);
    const head = Math.floor(row / rows);
    return change(Math.floor(head / heads), head % heads, heads, row % rows) ? 3 - value : value;
  });
  return floatTensor(tensor?.shape ?? [], values);
}
