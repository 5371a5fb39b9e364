import type { TensorComparison } from './compare';
import type { Placement } from './placement';
import type { Timing } from './timings';
import type { Tolerance } from './tolerance';

/** What `verify` has found out. */
export interface VerifyReport {
  readonly passed: boolean;
  readonly original: string;
  readonly rewritten: string;
  /** Execution providers, as they were asked for. */
  readonly provider: string;
  /** Which nodes ran where, for each provider beside the CPU and each level of optimization. */
  readonly placements: readonly PlacementAtLevel[];
  /** True if the options of the rewrite keep the function, so that the outputs of both models must agree. */
  readonly keepsFunction: boolean;
  readonly checks: readonly Check[];
  /** Path of the first attention, in the order of the data, that a check found wrong. */
  readonly firstDivergingLayer: string | undefined;
  /** What was not looked at, and why. */
  readonly notVerified: readonly string[];
  readonly cases: readonly string[];
  /** What the models took, by model and place. */
  readonly timings: readonly Timing[];
}

/** With ONNX Runtime's own graph optimizations as users run models, or without any. */
export interface PlacementAtLevel extends Placement {
  readonly optimization: 'all' | 'disabled';
}

export type CheckName =
  | 'record'
  | 'structure'
  | 'parameters'
  | 'layers'
  | 'prepared'
  | 'neutralised'
  | 'mirrored'
  | 'function'
  | 'monitored'
  | 'recorded-outputs'
  | 'mix'
  | 'overflow'
  | 'placement'
  | 'providers';

/** One way of looking at the rewrite. */
export interface Check {
  readonly name: CheckName;
  /** What the check states when it passes. */
  readonly states: string;
  /** Execution provider that it concerns, as it was asked for. Without: the CPU, or nothing was run. */
  readonly provider: string | undefined;
  readonly passed: boolean;
  /** How many things were compared; a check of nothing does not pass. */
  readonly compared: number;
  /** On how many inputs it ran; undefined for checks that run nothing. */
  readonly inputs: number | undefined;
  /** Inputs on which it did not run, though both models do. */
  readonly leftOut: readonly LeftOut[];
  /** The largest error in float64, where numbers were compared. */
  readonly maxAbs: number | undefined;
  readonly tolerance: Tolerance | undefined;
  readonly findings: readonly Finding[];
  /** Comparisons by what was compared, such as `logits` or `<path>: C`; the worst over all cases. */
  readonly comparisons: Readonly<Record<string, TensorComparison>>;
}

/** An input with which a check was not made. */
export interface LeftOut {
  readonly input: string;
  readonly reason: string;
}

/** Something that is not as it must be. */
export interface Finding {
  /** Path of the attention it concerns, if it concerns one. */
  readonly layer?: string | undefined;
  readonly message: string;
  /** True where the original does the same: the rewrite is not at fault. */
  readonly inOriginal?: boolean | undefined;
  /** True where nothing wrong was seen, but too little to prove anything by. */
  readonly unproven?: boolean | undefined;
}

/** A check is made with at least this share of the inputs with which it is tried. */
const ENOUGH = 1 / 2;

/** Collects what one check finds. */
export class CheckBuilder {
  readonly #findings: Finding[] = [];
  readonly #comparisons = new Map<string, TensorComparison>();
  /** What must be compared at least once, and the layer it concerns. */
  readonly #awaited = new Map<string, string | undefined>();
  readonly #inputs = new Set<string>();
  readonly #leftOut = new Map<string, string>();
  #compared = 0;
  #failures = 0;
  #maxAbs: number | undefined;
  #tolerance: Tolerance | undefined;

  constructor(
    readonly name: CheckName,
    readonly states: string,
    readonly provider?: string,
  ) {}

  /** Counts something that is as it must be. */
  count(number = 1): void {
    this.#compared += number;
  }

  find(message: string, layer?: string): void {
    this.#compared++;
    this.#findings.push({ message, layer });
  }

  /** As `find`, but the same thing once, however many inputs show it. */
  findOnce(message: string, layer?: string): void {
    if (this.#findings.some((finding) => finding.message === message)) this.#compared++;
    else this.find(message, layer);
  }

  /** As `findOnce`, of something that the original does as well. */
  findInOriginal(message: string): void {
    this.#compared++;
    if (!this.#findings.some((finding) => finding.message === message))
      this.#findings.push({ message, inOriginal: true });
  }

  /** Something that must be compared at least once: if it is not, that is a finding. */
  await(label: string, layer?: string): void {
    if (!this.#comparisons.has(label)) this.#awaited.set(label, layer);
  }

  /**
   * Notes a comparison of numbers; keeps the worst under each label. One in which no number is finite on both sides
   * shows nothing and counts for nothing.
   */
  compare(label: string, comparison: TensorComparison, where: string, layer?: string): void {
    if (comparison.passed && comparison.finite === 0) return;
    this.#compared++;
    this.#awaited.delete(label);
    if (comparison.tolerance.atol >= (this.#tolerance?.atol ?? 0)) this.#tolerance = comparison.tolerance;
    this.#maxAbs = Math.max(this.#maxAbs ?? 0, comparison.maxAbs);
    const known = this.#comparisons.get(label);
    if (!known || worse(comparison, known)) this.#comparisons.set(label, comparison);
    if (comparison.passed) return;
    this.#failures++;
    const already = this.#findings.some((finding) => finding.message.startsWith(`${label}:`));
    if (!already) this.#findings.push({ message: `${label}: ${describe(comparison)} (${where})`, layer });
  }

  /** Notes that the check ran on an input. */
  ranOn(input: string): void {
    this.#inputs.add(input);
  }

  /** Notes that a copy does not run on an input on which both models run: a case less, as long as enough remain. */
  leaveOut(input: string, reason: string): void {
    if (!this.#leftOut.has(input)) this.#leftOut.set(input, reason);
  }

  /** What was not compared yet; no longer awaited. */
  giveUp(): string[] {
    const labels = [...this.#awaited.keys()];
    this.#awaited.clear();
    return labels;
  }

  /** Comparisons that failed so far, each one counted. */
  get failures(): number {
    return this.#failures;
  }

  /** What was found so far. */
  get findings(): readonly Finding[] {
    return this.#findings;
  }

  /** Notes that something could not be looked at: nothing wrong was seen, and nothing is proven. */
  missProof(message: string, layer?: string): void {
    this.#compared++;
    if (!this.#findings.some((finding) => finding.message === message))
      this.#findings.push({ message, layer, unproven: true });
  }

  done(): Check {
    for (const [label, layer] of this.#awaited)
      this.missProof(`${label}: was not compared with any input`, layer);
    this.#awaited.clear();
    for (const input of this.#leftOut.keys()) this.#inputs.delete(input);
    const [ran, tried] = [this.#inputs.size, this.#inputs.size + this.#leftOut.size];
    if (ran < tried * ENOUGH) {
      const [reason] = this.#leftOut.values();
      this.missProof(`ran on ${ran} of ${tried} inputs only: ${reason}`);
    }
    return {
      name: this.name,
      states: this.states,
      provider: this.provider,
      passed: this.#findings.length === 0 && this.#compared > 0,
      compared: this.#compared,
      inputs: tried > 0 ? ran : undefined,
      leftOut: [...this.#leftOut].map(([input, reason]) => ({ input, reason })),
      maxAbs: this.#maxAbs,
      tolerance: this.#tolerance,
      findings: [...this.#findings],
      comparisons: Object.fromEntries(this.#comparisons),
    };
  }
}

/** True where nothing was found wrong, but less was looked at than a proof takes. */
export function isUnproven({ passed, findings }: Check): boolean {
  return !passed && findings.every(({ unproven }) => unproven);
}

function worse(a: TensorComparison, b: TensorComparison): boolean {
  if (a.passed !== b.passed) return !a.passed;
  return Number.isNaN(a.maxAbs) || a.maxAbs > b.maxAbs;
}

function describe(comparison: TensorComparison): string {
  if (comparison.mismatch) return comparison.mismatch;
  const { worst, maxAbs, failures, nanMismatches, infinityMismatches } = comparison;
  const special = nanMismatches + infinityMismatches;
  const at = worst ? ` at [${worst.index.join(', ')}]: expected ${worst.expected}, got ${worst.actual}` : '';
  const odd = special > 0 ? `, ${special} of them NaN or infinite on one side` : '';
  return `${failures} elements differ${odd}, by up to ${maxAbs.toExponential(2)}${at}`;
}
