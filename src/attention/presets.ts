/**
 * The reference implementations that a rewrite can follow, as data (SPEC section 1). Whoever needs to know what a preset
 * means reads it here; nobody asks for a preset by its name.
 */

/** What `--preset` takes. */
export const PRESETS = ['axolotl', 'paper', 'diffllama', 'v2'] as const;
export type PresetName = (typeof PRESETS)[number];

export type HeadMode = 'duplicate' | 'split';

/** Which heads are the two components of one: i and i + h/2, or 2i and 2i + 1. */
export type Pairing = 'halves' | 'adjacent';

export interface Preset {
  /** Head modes that it has, the default first. */
  readonly heads: readonly HeadMode[];
  /** Which heads belong together: those of the model in split mode, those of a checkpoint in duplicate mode. */
  readonly pairing: Pairing;
  /** Sides that get a second projection in duplicate mode; the other side serves both components. */
  readonly doubles: readonly ('query' | 'key')[];
  /** Where lambda comes from: four vectors and lambda_init, or a projection of the layer's input. */
  readonly lambda: 'vectors' | 'projection';
  /** RMSNorm behind the attention: one that may be left out, one that belongs to it, or none. */
  readonly norm: 'optional' | 'always' | 'never';
  /** True where that norm has a weight. */
  readonly normWeight: boolean;
  /** Epsilon of that norm; undefined for that of the model's own norm before the layer. */
  readonly normEps: number | undefined;
  /** True where the result is multiplied by (1 - lambda_init). */
  readonly timesOneMinusLambdaInit: boolean;
  /** True where a zero init has a meaning: lambda can be 0. */
  readonly zeroInit: boolean;
  /** True where a checkpoint of the reference holds lambda_init. */
  readonly storesLambdaInit: boolean;
}

const TABLE: Readonly<Record<PresetName, Preset>> = {
  // axolotl-ai-cloud/diff-transformer
  axolotl: {
    heads: ['duplicate', 'split'],
    pairing: 'halves',
    doubles: ['query', 'key'],
    lambda: 'vectors',
    norm: 'optional',
    normWeight: true,
    normEps: undefined,
    timesOneMinusLambdaInit: false,
    zeroInit: true,
    storesLambdaInit: true,
  },
  // unilm Diff-Transformer, multihead_diffattn.py (arXiv 2410.05258)
  paper: {
    heads: ['split'],
    pairing: 'adjacent',
    doubles: ['query', 'key'],
    lambda: 'vectors',
    norm: 'always',
    normWeight: true,
    normEps: 1e-5,
    timesOneMinusLambdaInit: true,
    zeroInit: true,
    storesLambdaInit: false,
  },
  // transformers, modeling_diffllama.py
  diffllama: {
    heads: ['split'],
    pairing: 'halves',
    doubles: ['query', 'key'],
    lambda: 'vectors',
    norm: 'always',
    normWeight: false,
    normEps: undefined,
    timesOneMinusLambdaInit: true,
    zeroInit: true,
    storesLambdaInit: false,
  },
  // unilm Diff-Transformer V2
  v2: {
    heads: ['duplicate'],
    pairing: 'adjacent',
    doubles: ['query'],
    lambda: 'projection',
    norm: 'never',
    normWeight: false,
    normEps: undefined,
    timesOneMinusLambdaInit: false,
    zeroInit: false,
    storesLambdaInit: false,
  },
};

/** What a preset means. */
export function presetOf({ preset }: { readonly preset: PresetName }): Preset {
  return TABLE[preset];
}

/** True if a side gets a second projection. */
export function isDoubled(
  options: { readonly preset: PresetName; readonly heads: HeadMode },
  side: 'query' | 'key',
): boolean {
  return options.heads === 'duplicate' && presetOf(options).doubles.includes(side);
}
