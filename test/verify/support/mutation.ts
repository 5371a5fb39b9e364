/** Ways of damaging rewritten models, and the proof that verification catches each of them. */
import type { RewriteFileSettings } from '../../../src/api/rewrite';
import { verifyModels } from '../../../src/api/verify';
import type { RewrittenLayer } from '../../../src/attention/record';
import type { CheckName } from '../../../src/verify/report';
import { onSecondProvider, SECOND_EP } from '../../support/second-provider';
import { Draft } from './draft';
import { checkOf, failedChecks, failedOn, findingsOf, pairOf, type WrittenPair } from './pairs';

/** An export, and how it is rewritten. */
export interface Rewritten {
  readonly name: string;
  readonly settings: RewriteFileSettings;
}

function rewritten(name: string, settings: RewriteFileSettings = {}): Rewritten {
  return { name, settings };
}

const inline = { emit: 'inline' } as const;

/** One model for each form in which attention is written, and some for what else there is. */
export const models = {
  /** Q K^T * scale + mask, as many key heads as query heads; biases. */
  scores: rewritten('bert-enc-dy18-eager'),
  scoresInline: rewritten('bert-enc-dy18-eager', inline),
  scoresZero: rewritten('bert-enc-dy18-eager', { init: 'zero', sublayerNorm: false }),
  /** The same with grouped heads and rotary positions. */
  rotary: rewritten('llama-dec-dy18-eager'),
  /** Anything between scores and probabilities; grouped heads, rotary positions, a causal mask. */
  probabilities: rewritten('llama-dec-dy18-sdpa'),
  probabilitiesInline: rewritten('llama-dec-dy18-sdpa', inline),
  /** Behind the operator Attention of opset 23. */
  outputs: rewritten('bert-enc-dy23-sdpa'),
  outputsInline: rewritten('bert-enc-dy23-sdpa', inline),
  split: rewritten('bert-enc-dy18-eager', { splitHeads: true }),
  splitInline: rewritten('bert-enc-dy18-eager', { splitHeads: true, ...inline }),
  splitMirror: rewritten('bert-enc-dy18-eager', { splitHeads: true, init: 'mirror' }),
  splitGrouped: rewritten('llama-dec-dy18-sdpa', { splitHeads: true }),
  splitOutputs: rewritten('bert-enc-dy23-sdpa', { splitHeads: true }),
  preserve: rewritten('llama-dec-dy18-sdpa', { init: 'preserve' }),
  preserveInline: rewritten('bert-enc-dy23-sdpa', { init: 'preserve', ...inline }),
  /** With the warm-up input. */
  mixed: rewritten('llama-dec-dy18-sdpa', { mixInput: true, init: 'preserve' }),
  mixedInline: rewritten('bert-enc-dy23-sdpa', { mixInput: true, sublayerNorm: false, ...inline }),
  /** Adjacent heads, and the factor (1 - lambda_init). */
  paper: rewritten('bert-enc-dy18-eager', { preset: 'paper' }),
  paperInline: rewritten('bert-enc-dy18-eager', { preset: 'paper', ...inline }),
  paperGrouped: rewritten('llama-dec-dy18-sdpa', { preset: 'paper' }),
  paperOutputs: rewritten('bert-enc-dy23-sdpa', { preset: 'paper' }),
  paperMirror: rewritten('bert-enc-dy18-eager', { preset: 'paper', init: 'mirror' }),
  /** A norm without weight. */
  diffllama: rewritten('llama-dec-dy18-sdpa', { preset: 'diffllama' }),
  diffllamaInline: rewritten('llama-dec-dy18-sdpa', { preset: 'diffllama', ...inline }),
  /** lambda of each token and head, and queries alone twice. */
  v2: rewritten('bert-enc-dy18-eager', { preset: 'v2' }),
  v2Inline: rewritten('bert-enc-dy18-eager', { preset: 'v2', ...inline }),
  v2Probabilities: rewritten('llama-dec-dy18-sdpa', { preset: 'v2' }),
  v2Outputs: rewritten('bert-enc-dy23-sdpa', { preset: 'v2' }),
  v2Preserve: rewritten('llama-dec-dy18-sdpa', { preset: 'v2', init: 'preserve' }),
  v2Cached: rewritten('llama-past-dy18-sdpa', { preset: 'v2' }),
  /** With a cache. */
  cached: rewritten('llama-past-dy18-sdpa'),
  cachedOutputs: rewritten('llama-past-dy23-sdpa'),
} as const satisfies Record<string, Rewritten>;

/** A rewritten model to be damaged. */
export interface Subject {
  readonly draft: Draft;
  /** The layers in the order of the data. */
  readonly first: RewrittenLayer;
  readonly second: RewrittenLayer;
}

export interface Mutation {
  readonly title: string;
  readonly models: readonly Rewritten[];
  readonly damage: (subject: Subject) => void;
  /** The check that must fail. */
  readonly check: CheckName;
  /** The layer that must be named: the first attention that is not as it must be. */
  readonly layer?: 'first' | 'second';
  /** What the check must say. */
  readonly says?: RegExp;
}

export function subjectOf({ name, settings }: Rewritten): Subject & { pair: WrittenPair } {
  const pair = pairOf(name, settings);
  const [first, second] = pair.layers;
  if (!first || !second) throw new Error('not two layers');
  return { pair, draft: new Draft(pair.rewritten), first, second };
}

/** What few inputs show, more show as well. */
const FEW = { lengths: [5] };

/** Each mutation in each of its models, as tests. */
export function testMutations(mutations: readonly Mutation[]): void {
  const cases = mutations.flatMap(
    (mutation) =>
      mutation.models.map((each) => [
        `${mutation.title}: ${each.name} ${JSON.stringify(each.settings)}`,
        { mutation, each },
      ]) as [string, { mutation: Mutation; each: Rewritten }][],
  );
  test.each(cases)('%s', async (_, { mutation: { damage, check, layer, says }, each }) => {
    const subject = subjectOf(each);
    damage(subject);
    const report = await verifyModels(subject.pair.original, subject.draft.write(), {
      ...FEW,
      ...onSecondProvider,
    });
    const found = findingsOf(report);
    expect({ passed: report.passed, failed: failedChecks(report), found }).toMatchObject({
      passed: false,
      failed: expect.arrayContaining([check]),
    });
    expect({ layer: report.firstDivergingLayer, found }).toMatchObject({
      layer: layer && subject[layer].path,
    });
    // What is wrong with a layer shows wherever it runs.
    if (SECOND_EP !== undefined && check === 'layers')
      expect(failedOn(report, SECOND_EP)).toEqual(expect.arrayContaining([check]));
    if (says)
      expect(
        checkOf(report, check)
          .findings.map(({ message }) => message)
          .join('\n'),
      ).toMatch(says);
  });
}
