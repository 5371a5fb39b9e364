/** What a verification spent its time on, by model and place. */
import type { RunPlace } from './bench';
import type { Session } from './session';

/** `copy`: a changed copy of either model, such as one that shows inner values. */
export type TimedModel = 'original' | 'rewritten' | 'copy';

/** All sessions of one model in one place. */
export interface Timing {
  readonly model: TimedModel;
  readonly provider: string;
  /** ONNX Runtime's own graph optimizations. */
  readonly optimization: RunPlace['optimization'];
  /** How often it was loaded. */
  readonly loads: number;
  /** All loads together. */
  readonly loadMilliseconds: number;
  readonly runs: number;
  /** All runs together. */
  readonly runMilliseconds: number;
}

/** Adds up what sessions took. */
export class Timings {
  readonly #timings = new Map<string, Timing>();

  add(model: TimedModel, { provider, optimization }: RunPlace, { timing }: Session): void {
    const key = `${model} ${provider.text} ${optimization}`;
    const known = this.#timings.get(key);
    this.#timings.set(key, {
      model,
      provider: provider.text,
      optimization,
      loads: (known?.loads ?? 0) + 1,
      loadMilliseconds: (known?.loadMilliseconds ?? 0) + timing.loadMilliseconds,
      runs: (known?.runs ?? 0) + timing.runs,
      runMilliseconds: (known?.runMilliseconds ?? 0) + timing.runMilliseconds,
    });
  }

  /** In the order in which they began, rounded to a tenth of a millisecond. */
  all(): Timing[] {
    const tenths = (milliseconds: number) => Math.round(milliseconds * 10) / 10;
    return [...this.#timings.values()].map((timing) => ({
      ...timing,
      loadMilliseconds: tenths(timing.loadMilliseconds),
      runMilliseconds: tenths(timing.runMilliseconds),
    }));
  }
}
