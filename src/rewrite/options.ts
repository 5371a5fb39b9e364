import { type HeadMode, PRESETS, type Preset, type PresetName, presetOf } from '../attention/presets';
import { errors } from '../errors';

export const INITS = ['random', 'zero', 'mirror', 'preserve'] as const;
export type Init = (typeof INITS)[number];
export const EMITS = ['function', 'inline'] as const;
export type Emit = (typeof EMITS)[number];

/** What a caller may ask of a rewrite; everything has a default. See SPEC section 1. */
export interface RewriteSettings {
  /** Which reference implementation decides. Default `axolotl`. */
  readonly preset?: string;
  /** Use the model's own heads for both components instead of adding projections. Default: as the preset does. */
  readonly splitHeads?: boolean;
  /** Initial values of what is new. Default `random`. */
  readonly init?: string;
  /** RMSNorm behind the attention. Default: as the preset has it, with `preserve` false. */
  readonly sublayerNorm?: boolean;
  /** Epsilon of that norm. Default: that of the RMSNorm before the layer, else 1e-5. */
  readonly normEps?: number;
  /** Of the random numbers. Default 0. */
  readonly seed?: number;
  /** Depths of the attentions to rewrite, such as `0-3,7`. Default all. */
  readonly layers?: string;
  /** Leave what is not understood as it is. Default false. */
  readonly allowPartial?: boolean;
  /** How the attention is written: as calls of a local function, or as plain operators. Default `function`. */
  readonly emit?: string;
  /** Add the graph input `diff_attn_mix`. Default false. */
  readonly mixInput?: boolean;
  /** Number of layers whose metrics become outputs, see SPEC section 7. Default none. */
  readonly monitorLayers?: number;
}

/** Settings that are complete and do not contradict each other. */
export interface RewriteOptions {
  readonly preset: PresetName;
  readonly heads: HeadMode;
  readonly init: Init;
  readonly sublayerNorm: boolean;
  readonly normEps: number | undefined;
  readonly seed: number;
  readonly layers: LayerSelection | undefined;
  readonly allowPartial: boolean;
  readonly emit: Emit;
  readonly mixInput: boolean;
  readonly monitorLayers: number | undefined;
}

/** Layers by depth. */
export interface LayerSelection {
  readonly text: string;
  includes(depth: number): boolean;
  /** Depths that were named one by one or as ends of a range. */
  readonly named: readonly number[];
}

function oneOf<T extends string>(
  option: string,
  given: string | undefined,
  known: readonly T[],
  fallback: T,
): T {
  if (given === undefined) return fallback;
  const found = known.find((each) => each === given);
  if (!found) throw errors.unknownChoice(option, given, known);
  return found;
}

/** Parses `0-3,7`. */
export function parseLayers(text: string): LayerSelection {
  const ranges = text.split(',').map((part) => {
    const match = /^\s*(\d+)\s*(?:-\s*(\d+)\s*)?$/.exec(part);
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (!match || last < first) throw errors.invalidLayers(text);
    return [first, last] as const;
  });
  return {
    text,
    includes: (depth) => ranges.some(([first, last]) => depth >= first && depth <= last),
    named: ranges.flat(),
  };
}

function resolveHeads({ splitHeads }: RewriteSettings, preset: PresetName, { heads }: Preset): HeadMode {
  const [usual = 'duplicate'] = heads;
  if (!splitHeads) return usual;
  if (heads.includes('split')) return 'split';
  throw errors.contradiction(`--preset ${preset}`, '--split-heads', 'it adds queries and splits no heads');
}

function refuseInit(
  init: Init,
  heads: HeadMode,
  preset: PresetName,
  { heads: modes, zeroInit }: Preset,
  { sublayerNorm }: RewriteSettings,
): void {
  const chosen = modes.length > 1 ? '--split-heads' : `--preset ${preset}`;
  if (heads === 'split' && init === 'zero') {
    throw errors.contradiction(chosen, '--zero-init', 'the negative half of the heads would be lost');
  }
  if (heads === 'split' && init === 'preserve') {
    throw errors.contradiction(
      chosen,
      '--init preserve',
      'splitting the heads changes what the model computes',
    );
  }
  if (init === 'zero' && !zeroInit) {
    throw errors.contradiction(
      `--preset ${preset}`,
      '--zero-init',
      'a sigmoid is never 0',
      'Use --init preserve, which keeps what the model computes.',
    );
  }
  if (init === 'preserve' && sublayerNorm === true) {
    throw errors.contradiction(
      '--init preserve',
      '--sublayer-norm',
      'a norm changes what the model computes',
    );
  }
}

function refuseNorm(
  preset: PresetName,
  { norm }: Preset,
  init: Init,
  { sublayerNorm, normEps }: RewriteSettings,
): void {
  const chosen = `--preset ${preset}`;
  if (norm === 'never' && sublayerNorm === true)
    throw errors.contradiction(chosen, '--sublayer-norm', 'it has no norm');
  if (norm === 'never' && normEps !== undefined)
    throw errors.contradiction(chosen, '--norm-eps', 'it has no norm');
  if (norm === 'always' && sublayerNorm === false)
    throw errors.contradiction(chosen, '--no-sublayer-norm', 'the norm is part of it');
  const without =
    sublayerNorm === false ? '--no-sublayer-norm' : init === 'preserve' ? '--init preserve' : undefined;
  if (normEps !== undefined && without !== undefined)
    throw errors.contradiction('--norm-eps', without, 'the number belongs to the norm, and there is none');
}

/** Completes settings, and refuses what contradicts itself. */
export function resolveOptions(settings: RewriteSettings): RewriteOptions {
  const preset = oneOf('--preset', settings.preset, PRESETS, 'axolotl');
  const init = oneOf('--init', settings.init, INITS, 'random');
  const emit = oneOf('--emit', settings.emit, EMITS, 'function');
  const seed = settings.seed ?? 0;
  const what = presetOf({ preset });
  const heads = resolveHeads(settings, preset, what);
  refuseInit(init, heads, preset, what, settings);
  refuseNorm(preset, what, init, settings);
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw errors.invalidNumber('--seed', String(settings.seed), 'a whole number from 0 on');
  const { normEps } = settings;
  if (normEps !== undefined && !(normEps > 0 && normEps < 1)) {
    throw errors.invalidNumber('--norm-eps', String(normEps), 'a number between 0 and 1');
  }
  const { monitorLayers } = settings;
  if (monitorLayers !== undefined && !(Number.isSafeInteger(monitorLayers) && monitorLayers > 0)) {
    throw errors.invalidNumber('--monitor-layers', String(monitorLayers), 'a whole number from 1 on');
  }
  return {
    preset,
    heads,
    init,
    sublayerNorm: settings.sublayerNorm ?? (what.norm !== 'never' && init !== 'preserve'),
    normEps,
    seed,
    layers: settings.layers === undefined ? undefined : parseLayers(settings.layers),
    allowPartial: settings.allowPartial ?? false,
    emit,
    mixInput: settings.mixInput ?? false,
    monitorLayers,
  };
}

/** True if the rewritten model computes what the original does, see SPEC section 1, up to rounding. */
export function keepsFunction(options: Pick<RewriteOptions, 'init' | 'sublayerNorm' | 'heads'>): boolean {
  return (
    options.heads === 'duplicate' &&
    !options.sublayerNorm &&
    (options.init === 'zero' || options.init === 'preserve')
  );
}
