/** Names say nothing: real exports whose inputs are called `a.0`, `a.1`, ... get the same roles, and run. */
import { load, type Model } from '../../../src/ir';
import { readModel } from '../../../src/onnx';
import { runOriginal } from '../../../src/verify/case-runs';
import { isDelicate, planCases, type Role } from '../../../src/verify/feeds';
import { inputRoles, knownInputs } from '../../../src/verify/input-roles';
import { withSession } from '../../../src/verify/session';
import { toFloat64 } from '../../../src/verify/tensor';
import { makeVariant } from '../../../src/verify/variants';
import { openModel } from '../../support/fixtures';

/** Gives all inputs names without a meaning, in order. */
function unname(model: Model): void {
  for (const [index, input] of [...model.graph.inputs].entries())
    if (!input.initializer) model.graph.rename(input, `a.${index}`);
}

/**
 * What a role comes to where nobody can tell more: a position that is read off a table that is added, as GPT-2's are, is
 * an index like any other, and is fed other numbers below the same bound.
 */
function asFed(role: Role): object {
  if (role.kind === 'positions' && role.bound !== undefined) return { kind: 'ids', vocabulary: role.bound };
  return role;
}

const SAMPLE: readonly (readonly [Parameters<typeof openModel>[0], string])[] = [
  ...['bert-enc-ts14-eager', 'bert-enc-dy18-sdpa', 'bert-enc-dy18-sdpa+int8', 'distilbert-enc-dy23-sdpa'],
  ...['albert-enc-dy18-eager', 'gpt2-dec-ts17-sdpa', 'gpt2-past-dy18-eager', 'llama-past-dy18-sdpa'],
  ...['llama-past-ts17-sdpa', 'llama-merged-if-ts17', 'falcon-past-dy18-sdpa', 'bloom-past-ts14-eager'],
  ...['opt-past-dy23-sdpa', 'bart-seq-dy18-eager', 't5-seq-ts17-sdpa', 'dinov2-vis-dy23-sdpa'],
  ...['ms-gqa-rotary', 'ms-attention-packed', 'ms-multihead-attention'],
].map((name) => ['exports', name] as const);

const WIDE = [
  ...['lfm2-dec-ts17-sdpa', 'esm-enc-dy18-sdpa', 'speech_to_text-s2t-ts17-sdpa', 'llama-past-genai22-gqa'],
].map((name) => ['wide', name] as const);

test.each([...SAMPLE, ...WIDE])('%s: %s', async (kind, name) => {
  const file = readModel(openModel(kind, name).model);
  const named = await withSession(file.path, { threads: 1 }, async ({ inputs }) =>
    inputRoles(load(file), inputs),
  );
  const model = load(file);
  unname(model);
  const variant = makeVariant(file, unname);
  try {
    await withSession(variant.model, { threads: 1 }, async (session) => {
      const { inputs } = knownInputs(model, session.inputs);
      expect(inputs.map(({ role }) => asFed(role))).toEqual(named.map(({ role }) => asFed(role)));
      const skipped: string[] = [];
      const runs = await runOriginal(model, session, {}, skipped);
      expect(runs.length).toBeGreaterThan(planCases(inputs).filter((each) => !isDelicate(each)).length / 3);
      for (const { outputs, loud } of runs) {
        const isNan = Object.values(outputs).some((tensor) => toFloat64(tensor).some(Number.isNaN));
        expect(!loud && isNan).toBe(false);
      }
    });
  } finally {
    variant.discard();
  }
});
