import { MIX_INPUT } from '../attention/record';
import { DiffxError, ExitCode, isRefused } from '../errors';
import type { Model } from '../ir';
import { type CaseRun, inputOf, orRefusal } from './case-runs';
import type { Exposure } from './exposure';
import { type Component, type DoubledKeys, doubledInputs, doubledOutputs, doubleFeeds } from './key-caches';
import type { Limits, Look } from './layer-checks';
import { inDataOrder, matchLayers } from './layer-order';
import type { LayerUnderTest } from './layer-reference';
import { fillsOriginal, putLoaded } from './loaded-weights';
import type { Correspondence } from './outside';
import { keyOf, pathOf, valueAt } from './places';
import { precisionOf, toleranceWithin } from './precision';
import { CPU, type ProviderSpec } from './providers';
import type { CheckBuilder } from './report';
import { type Session, type SessionOptions, withSession } from './session';
import { callsOf, showsMaps } from './split-operator';
import { storedTensor } from './stored';
import type { Tensor } from './tensor';
import { type TimedModel, Timings } from './timings';
import { type Tolerance, widenFor } from './tolerance';
import { makeVariant, threadsFor } from './variants';
import type { Pair, VerifySettings } from './verify';
import { holdsBfloat16, wideTensor } from './wide';

export type Tensors = Readonly<Record<string, Tensor>>;

/** Where models run. */
export interface RunPlace {
  readonly provider: ProviderSpec;
  /** ONNX Runtime's own graph optimizations: as users run models, or none. */
  readonly optimization: 'all' | 'disabled';
}

const HOME: RunPlace = { provider: CPU, optimization: 'all' };

/** A session of a widened model, which takes no bfloat16. */
function fedWide(session: Session): Session {
  return {
    ...session,
    run: (feeds, wanted) =>
      session.run(
        Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, wideTensor(tensor)])),
        wanted,
      ),
  };
}

/** Where a pair and changed copies of it are run, for all checks. */
export class Bench {
  /** In the order of the data. */
  readonly layers: readonly LayerUnderTest[];
  readonly pasts: readonly DoubledKeys[];
  readonly presents: readonly DoubledKeys[];
  /** True where both models are run with float32 in the place of bfloat16. */
  readonly wide: boolean;
  /** True where the original rounds to a few bits what it computes, or what it computes with. */
  readonly quantized: boolean;
  /** For what the model as a whole gives, by element type. */
  readonly toleranceOf: (dtype: Tensor['dtype'] | undefined) => Tolerance;

  constructor(
    readonly pair: Pair,
    /** What stands for what in the two models. */
    readonly map: Correspondence,
    readonly settings: VerifySettings,
    readonly place: RunPlace = HOME,
    /** Shared with the same pair in other places. */
    readonly timings: Timings = new Timings(),
  ) {
    const { record, rewritten, original } = pair;
    const { options } = record;
    const wide = holdsBfloat16(original);
    const layers = matchLayers(record, pair.sites).map(({ layer, site }): LayerUnderTest => {
      const scope = pathOf(site.scope);
      const hidden = site.core.kind === 'operator' && options.heads === 'split' && !showsMaps(site.core);
      const calls = hidden ? callsOf(rewritten, site, layer, scope) : undefined;
      const { core } = site;
      const showsMap = core.kind === 'written-out' && map.maps.has(core.probabilities);
      const probabilities =
        core.kind === 'written-out' ? map.computedAs(core.probabilities)?.name : undefined;
      return { wide, layer, site, options, scope, calls, showsMap, probabilities };
    });
    this.layers = inDataOrder(layers, ({ site }) => site);
    this.pasts = doubledInputs(record);
    this.presents = doubledOutputs(rewritten, record);
    this.wide = wide;
    const precision = precisionOf(original, wide);
    this.quantized = precision === 'quantized';
    this.toleranceOf = (dtype) => settings.tolerance ?? this.widen(toleranceWithin(precision, dtype));
  }

  /** The same pair elsewhere. */
  at(place: Partial<RunPlace>): Bench {
    return new Bench(this.pair, this.map, this.settings, { ...this.place, ...place }, this.timings);
  }

  /** A tolerance of the CPU, as wide as the provider needs it. */
  widen(tolerance: Tolerance): Tolerance {
    return widenFor(this.place.provider, tolerance);
  }

  get limits(): Limits {
    return { given: this.settings.tolerance, widen: (tolerance) => this.widen(tolerance) };
  }

  /** Loads the original as it is, or with the weights of a checkpoint that the rewritten model has, for as long as `use` needs it. */
  async original<T>(use: (session: Session) => Promise<T>, profile = false): Promise<T> {
    const { original, record } = this.pair;
    if (fillsOriginal(original, record)) return this.ofOriginal(() => undefined, use, profile);
    return this.#asItIs(original, use, profile);
  }

  /** Loads a changed copy of the original, its functions inlined where they were for the rewrite. */
  async ofOriginal<T, E>(
    edit: (model: Model) => E,
    use: (session: Session, edited: E) => Promise<T>,
    profile = false,
  ) {
    const prepared = (model: Model) => {
      this.pair.prepareOriginal(model);
      putLoaded(model, this.pair.rewritten, this.pair.record);
      return edit(model);
    };
    return this.#load(this.pair.original, 'copy', prepared, use, profile);
  }

  /** Loads the rewritten file as it is. */
  async rewritten<T>(use: (session: Session) => Promise<T>, profile = false): Promise<T> {
    return this.#asItIs(this.pair.rewritten, use, profile);
  }

  /** Loads a changed copy of the rewritten model. */
  async ofRewritten<T, E>(edit: (model: Model) => E, use: (session: Session, edited: E) => Promise<T>) {
    return this.#load(this.pair.rewritten, 'copy', edit, use);
  }

  async #asItIs<T>(of: Model, use: (session: Session) => Promise<T>, profile = false): Promise<T> {
    const { directory, path } = of.file;
    const what = of === this.pair.original ? 'original' : 'rewritten';
    if (directory === undefined || this.wide) return this.#load(of, what, () => undefined, use, profile);
    return this.#withSession(path, what, this.#sessionOptions(of, profile), use);
  }

  async #withSession<T>(
    model: string | Uint8Array,
    what: TimedModel,
    options: SessionOptions,
    use: (session: Session) => Promise<T>,
  ): Promise<T> {
    return withSession(model, options, async (session) => {
      try {
        return await use(this.wide ? fedWide(session) : session);
      } finally {
        this.timings.add(what, this.place, session);
      }
    });
  }

  async #load<T, E>(
    of: Model,
    what: TimedModel,
    edit: (model: Model) => E,
    use: (session: Session, edited: E) => Promise<T>,
    profile = false,
  ) {
    const edits: E[] = [];
    const variant = makeVariant(of.file, (model) => void edits.push(edit(model)), { wide: this.wide });
    try {
      return await this.#withSession(variant.model, what, this.#sessionOptions(of, profile), (session) =>
        use(session, edits[0] as E),
      );
    } finally {
      variant.discard();
    }
  }

  #sessionOptions(of: Model, profile: boolean) {
    const refusedExitCode = of === this.pair.original ? ExitCode.usage : ExitCode.verificationFailed;
    return { name: of.file.path, refusedExitCode, ...threadsFor(of.file), ...this.place, profile };
  }

  /**
   * A rewritten model that the runtime refuses, or that wants other inputs, is a finding; of a changed copy that shows
   * nothing wrong, but proves nothing. True where there is none.
   */
  async noteRefusals(
    check: CheckBuilder,
    work: () => Promise<void>,
    of: 'file' | 'copy' = 'copy',
  ): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      const known = isRefused(error) || (error instanceof DiffxError && error.code === 'feed-mismatch');
      if (!known) throw error;
      if (of === 'file') check.findOnce(error.message);
      else check.missProof(`a changed copy that this check needs does not run: ${error.message}`);
      return false;
    }
  }

  /**
   * What the rewritten model is fed in a case.
   * @param past the component that gets the cached keys of the case
   */
  feeds(run: CaseRun, past: Component | 'both', more: Tensors = {}): Record<string, Tensor> {
    return {
      ...doubleFeeds(run.feeds, this.pasts, past),
      ...(this.pair.record.options.mixInput ? mixFeed(1) : {}),
      ...more,
    };
  }

  /** Makes a run of a changed copy; where it is refused, that is a case less. */
  async inCase<T>(check: CheckBuilder, run: CaseRun, work: () => Promise<T>): Promise<T | undefined> {
    const given = await orRefusal(async () => ({ value: await work() }));
    if (typeof given === 'string') {
      check.leaveOut(inputOf(run), given);
      return undefined;
    }
    check.ranOn(inputOf(run));
    return given.value;
  }

  /** What a run has shown. Of `only`, if given, and nothing else, since what is shown is kept. */
  look(
    exposure: Exposure,
    outputs: Tensors,
    feeds: Tensors,
    { where, mix = 1, only }: { where: string; mix?: number; only?: ReadonlySet<string> },
  ): Look {
    const { values, notTaken } = exposure.read(outputs);
    const kept = only ? new Map([...values].filter(([key]) => only.has(key))) : values;
    const { rewritten } = this.pair;
    return {
      at: (place) =>
        kept.get(keyOf(place)) ?? feeds[place.name] ?? storedTensor(rewritten, valueAt(rewritten, place)),
      isNotTaken: (place) => notTaken.has(keyOf(place)),
      where,
      mix,
    };
  }
}

/** What the warm-up input is fed. */
export function mixFeed(mix: number): Tensors {
  return { [MIX_INPUT]: { dtype: 1, shape: [], data: Float32Array.of(mix) } };
}
